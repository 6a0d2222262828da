"""The form in a real browser: keys, Back, languages, and what is on the screen afterwards."""

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select

from keysat.catalog.changes import change_policy, change_product
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.models import Invoice
from keysat.models.discount_code import CodeKind
from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database")
PHONE = {"viewport": {"width": 360, "height": 640}}


@pytest.fixture
def code():
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")


@pytest.mark.parametrize("scripts", [True, False])
def test_enter_in_the_address_buys(shop, open_page, scripts):
    page = open_page("/buy/editor", java_script_enabled=scripts)
    page.fill("#email", "buyer@example.com")
    page.press("#email", "Enter")
    page.wait_for_url("**/i/*")
    assert count_invoices() == 1


def test_enter_in_the_code_applies_it(shop, code, open_page):
    page = open_page("/buy/editor")
    page.fill("#code", "spring")
    page.press("#code", "Enter")
    expect(page.get_by_text("Code spring is applied.")).to_be_visible()


@pytest.mark.parametrize(
    ("typed", "answer", "status"), [("spring", "#code-applied", 200), ("winter", "#code-error", 400)]
)
def test_answer_to_a_code_is_on_the_screen(shop, code, open_page, typed, answer, status):
    page = open_page("/buy/editor", **PHONE)
    page.fill("#code", typed)
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(answer)).to_be_in_viewport()
    open_page.expect_refusal(status)


def count_invoices():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Invoice))


def buy(page):
    page.get_by_role("button", name="Continue to payment").click()
    page.wait_for_url("**/i/*")
    return page.url


@pytest.mark.parametrize("scripts", [True, False])
def test_back_and_buy_is_the_same_purchase(shop, open_page, scripts):
    page = open_page("/buy/editor", java_script_enabled=scripts)
    first = buy(page)
    page.go_back()
    assert buy(page) == first
    assert count_invoices() == 1
    assert buy(open_page("/buy/editor", java_script_enabled=scripts)) != first


def test_back_and_buy_where_nothing_is_kept(shop, open_page):
    """As a browser does that stores no page: it loads the form anew."""
    page = open_page("/buy/editor")
    page.route("**", lambda route: route.continue_())  # turns the cache off
    page.reload()
    first = buy(page)
    page.go_back()
    assert buy(page) == first
    assert count_invoices() == 1


@pytest.mark.parametrize("text", ["Unbreakable" * 12, "Many words " * 12], ids=["one word", "words"])
def test_long_names_stay_on_the_screen(shop, open_page, text):
    with transaction() as session:
        named = {"slug": "export", "name": text, "description": text}
        change_product(session, "editor", {"name": text, "description": text, "entitlements_catalog": [named]}, "cli")
        change_policy(session, "editor", "standard", {"name": text, "description": text, "is_trial": True}, "cli")
    licensed = page_of(make_purchase(State.LICENSED))
    page = open_page("/", **PHONE)
    for path in ("/", licensed, "/buy/editor?lang=de"):
        open_page.go(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"], path
    button, name = (page.locator(f".pick {part}").bounding_box() for part in ("input", ".name"))
    assert name["x"] > button["x"] + button["width"], "the name is beside its button, and not below it"
