"""The page between the form and a checkout of another origin."""

import pytest
from sqlalchemy import func

from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.builders import set_columns
from tests.web.pages.conftest import form_key, text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def test_page_is_in_the_buyers_language(browser):
    fields = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "do": "buy"}
    sent = browser.post("/buy/editor?lang=de", **fields)
    assert sent.headers["location"].endswith("/pay?lang=de")
    assert '<html lang="de">' in browser.get(sent.headers["location"]).text


@pytest.mark.parametrize("state", [State.LICENSED, State.LICENSE_DUE, State.SEEN, State.EXPIRED, State.SHORT])
def test_purchase_that_cannot_be_paid_leads_to_its_page(browser, state):
    page = page_of(make_purchase(state))
    sent = browser.get(f"{page}/pay?lang=de")
    assert sent.status_code == 303
    assert browser.at(sent.headers["location"]) == browser.at(f"{page}?lang=de")


@pytest.mark.parametrize("state", [State.STUCK, State.OVERDUE, State.ACCOUNT_FAILING])
def test_purchase_that_was_paid_is_never_paid_again(browser, state):
    """Its payment was seen before the provider was down."""
    invoice_id = make_purchase(state)
    set_columns(invoice_id, checkout_url="https://pay.example.com/i/1")
    page = page_of(invoice_id)
    assert "https://pay.example.com" in browser.get(page).text
    set_columns(invoice_id, payment_seen_at=func.now(), paid_amount=21_000)
    assert "https://pay.example.com" not in browser.get(page).text
    assert browser.get(f"{page}/pay").status_code == 303
    set_columns(invoice_id, paid_amount=9_000)
    assert "https://pay.example.com" in browser.get(page).text


@pytest.mark.parametrize("state", [State.STUCK, State.ACCOUNT_FAILING, State.ACCOUNT_PAUSED, State.OVERDUE])
def test_part_that_arrived_is_shown_while_the_provider_is_down(browser, state):
    invoice_id = make_purchase(state)
    page = page_of(invoice_id)
    assert "Paid so far" not in text_of(browser.get(page))
    set_columns(invoice_id, payment_seen_at=func.now(), paid_amount=9_000)
    assert "Paid so far 9,000 sat" in text_of(browser.get(page))
