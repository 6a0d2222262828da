"""What a sent form does, and what it says about its fields, over HTTP."""

import re
from itertools import permutations

import pytest
from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.models import Invoice
from keysat.models.discount_code import CodeKind
from keysat.web.pages.form import Form, parse_form
from keysat.web.tokens import page_of
from tests.web.pages.conftest import form_key, text_of

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def count_invoices():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Invoice))


@pytest.mark.parametrize("policy", ["none-such", "NO SLUG"])
def test_code_is_checked_beside_a_wrong_policy(buy, policy):
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")
    wrong = text_of(buy(policy=policy, code="WINTER"))
    assert "There is no such code." in wrong
    assert "is applied" not in wrong
    right = text_of(buy(policy=policy, code="spring"))
    assert "Choose one of the licenses below." in right
    assert "Code spring is applied." in right
    assert "15,750" in right


@pytest.mark.parametrize(
    "body",
    [
        "",
        "policy=standard",
        "policy=standard&do=else",
        "do=buy",
        "do=buy&policy=",
        "policy=standard&do=buy" + "&more=1" * 30,
        '{"policy": "standard", "do": "buy"}',
        b"\xff\xfe\x00",
    ],
)
def test_unreadable_form_buys_nothing(browser, body):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = browser.session.post(browser.at("/buy/editor"), data=body, headers=form, timeout=60, allow_redirects=False)
    assert sent.status_code == 400
    assert "arrive as it should" in text_of(sent) or "Choose one of the licenses below." in text_of(sent)
    assert count_invoices() == 0


def test_mistakes_are_listed_in_the_order_of_the_form_and_tied_to_their_fields(buy):
    shown = buy(policy="none-such", email="nobody", code="WINTER")
    listed = re.findall(r'<li><a href="#(\w+)">(.+?)</a></li>', shown.text)
    assert [name for name, _ in listed] == ["policy", "email", "code"]
    for name, sentence in listed:
        assert f'<p class="wrong" id="{name}-error">{sentence}</p>' in shown.text
        assert re.search(rf'<(?:input|fieldset) [^>]*aria-describedby="[^"]*\b{name}-error"', shown.text)
        assert re.search(rf'<input [^>]*id="{name}"', shown.text), "a link of the summary leads to a field"
    assert shown.text.count('aria-invalid="true"') == 3
    assert "<title>Please check what you entered · " in shown.text


def test_order_of_mistakes_never_depends_on_the_order_of_fields():
    """The order of a set of names differs between processes, so all orders are tried."""
    given = {"policy": "NO SLUG", "email": "nobody", "code": "nul\0"}
    for names in permutations(given):
        assert list(parse_form({name: given[name] for name in names}).errors) == ["policy", "email", "code"]
        form = Form()
        for name in names:
            form = form.wrong(name, "buy.error.policy")
        assert list(form.errors) == ["policy", "email", "code"]


@pytest.mark.parametrize("status", ["settled", "expired"])
def test_form_sent_again_after_the_end_leads_to_the_purchase(browser, status):
    fields = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "do": "buy"}
    browser.post("/buy/editor?lang=de", **fields)
    with transaction() as session:
        invoice = session.scalars(select(Invoice)).one()
        invoice.status, invoice.settled_at = status, func.now() if status == "settled" else None
    sent = browser.post("/buy/editor?lang=de", **fields)
    assert (sent.status_code, sent.headers["location"]) == (303, f"{page_of(invoice.id)}?lang=de")
    assert count_invoices() == 1


def test_form_is_kept_by_the_browser_alone(browser):
    """Back shows it as it was, with its key. With `no-store` it would get another key, and be another purchase."""
    for shown in (browser.get("/buy/editor"), browser.post("/buy/editor", do="apply")):
        assert shown.headers["cache-control"] == "private, max-age=0"
