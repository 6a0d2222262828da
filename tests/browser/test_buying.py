"""A first purchase in a real browser: the form, the sandbox's checkout, and the page that follows the payment."""

import re

import pytest
from playwright.sync_api import expect

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.licenses.keys import verify
from keysat.models.discount_code import CodeKind
from tests.browser.conftest import ALL_LOOKS, SECONDS, examine, violations
from tests.markup import faults

KEY = re.compile(r"LIC1-\S+")


def give_code():
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")


def choose(page):
    """Apply a code, and go on to the checkout."""
    page.fill("#email", "buyer@example.com")
    page.fill("#code", "spring")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Code spring is applied.")).to_be_visible()
    expect(page.get_by_label("E-mail")).to_have_value("buyer@example.com")
    page.get_by_role("button", name="Continue to payment").click()
    page.wait_for_url("**/i/*")
    expect(page.get_by_role("heading", name="15,750 sat")).to_be_visible()


def test_waiting_seen_licensed_without_reloading(celery_setup, shop, open_page, signer):
    give_code()
    page = open_page("/buy/editor")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page)
    checkout = page.url
    examine(page, "sandbox-new", ALL_LOOKS)
    back = page.get_by_role("link", name="Back to the seller").get_attribute("href")
    mine = page.context.new_page()
    mine.goto(back)
    mine.evaluate("window.same = true")
    expect(mine.get_by_role("heading", name="Waiting for your payment")).to_be_visible()
    page.get_by_role("button", name="Pay, and confirm later").click()
    expect(mine.get_by_role("heading", name="Payment seen")).to_be_visible(timeout=SECONDS)
    assert mine.title().startswith("Payment seen")
    page.get_by_role("button", name="Confirm the payment").click()
    expect(mine.get_by_role("heading", name="Thank you, here is your license")).to_be_visible(timeout=SECONDS)
    expect(mine.get_by_role("status")).to_contain_text("Thank you")
    assert mine.evaluate("window.same") is True
    mine.get_by_role("button", name="Copy").click()
    expect(mine.get_by_role("button", name="Copied")).to_be_visible()
    copied = mine.evaluate("navigator.clipboard.readText()")
    assert verify(copied, signer.public_key).entitlements == ("export",)
    examine(mine, "licensed", ALL_LOOKS)
    page.goto(checkout)
    assert violations(page) == []
    page.get_by_role("link", name="Back to the seller").click()
    expect(page.locator("#key")).to_have_text(copied)


def test_same_without_javascript(celery_setup, shop, open_page, signer):
    give_code()
    page = open_page("/buy/editor", java_script_enabled=False)
    choose(page)
    page.get_by_role("button", name="Pay, and confirm later").click()
    checkout = page.url
    page.get_by_role("link", name="Back to the seller").click()
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible(timeout=SECONDS)
    assert not page.get_by_role("button", name="Copy").is_visible()
    second = page.context.new_page()
    second.goto(checkout)
    second.get_by_role("button", name="Confirm the payment").click()
    expect(page.get_by_role("heading", name="Thank you, here is your license")).to_be_visible(timeout=SECONDS)
    key = KEY.search(page.locator("#key").inner_text())[0]
    assert verify(key, signer.public_key).entitlements == ("export",)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as a text file").click()
    assert key in download.value.path().read_text()


def test_sandbox_without_the_invoice(shop, open_page):
    page = open_page(f"{shop.url}/i/forgotten", 404)
    expect(page.get_by_role("heading", name="There is no such invoice")).to_be_visible()
    examine(page, "sandbox-missing")
    assert faults(page.request.get(page.url).text()) == []


@pytest.mark.parametrize(
    ("button", "title"),
    [
        ("Pay half of it", "A part of your payment arrived"),
        ("Let it expire", "The time to pay is over"),
        ("Let it expire, then pay", "Thank you, here is your license"),
    ],
)
def test_other_ends_on_the_sandboxes_page(celery_setup, shop, open_page, button, title):
    page = open_page("/buy/editor")
    page.get_by_role("button", name="Continue to payment").click()
    page.get_by_role("button", name=button, exact=True).click()
    assert violations(page) == []
    page.get_by_role("link", name="Back to the seller").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible(timeout=SECONDS)
