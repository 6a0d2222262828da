"""Paying the rest of a short payment, on the purchase's page."""

import pytest

from keysat.core.db import reading
from keysat.invoices.rest import current_of
from keysat.models import Invoice
from keysat.models.invoice_status import PaymentException
from keysat.operations.why import State
from keysat.providers.base import ProviderStatus
from keysat.web.tokens import page_of
from tests.builders import check_invoice, issue_now, load_invoice, set_account, set_columns
from tests.web.pages.conftest import text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def rest_of(invoice_id):
    with reading() as session:
        return current_of(session, session.get_one(Invoice, invoice_id))


@pytest.fixture
def short(fake_shop):
    """A purchase of which 9,000 of 21,000 sat were paid."""
    return make_purchase(State.SHORT)


def test_rest_is_offered_opened_and_paid_on_one_page(browser, fake_shop, signer, short):
    page = page_of(short)
    assert "Pay the rest: 12,000 sat" in text_of(browser.get(page))
    answer = browser.post(f"{page}/rest", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"].endswith("/pay")) == (303, True)
    rest = rest_of(short)
    set_columns(rest.id, checkout_url="https://pay.example.com/i/rest")
    assert "https://pay.example.com/i/rest" in browser.get(f"{page}/pay").text
    words = text_of(browser.get(page))
    assert "Waiting for your payment" in words
    assert all(amount in words for amount in ("Pay 12,000 sat", "Price 21,000 sat", "Paid so far 9,000 sat"))

    fake_shop.say(rest.provider_invoice_id, ProviderStatus.SETTLED, paid=12_000)
    fake_shop.say(load_invoice(short).provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, 9_000)
    for invoice_id in (rest.id, short):
        check_invoice(invoice_id)
        issue_now(invoice_id, signer.key_id)
    assert "Thank you, here is your license" in text_of(browser.get(page))
    assert "Thank you, here is your license" in text_of(browser.get(page_of(rest.id)))


def test_rest_that_is_short_itself_is_counted_with_what_arrived_before(browser, fake_shop, short):
    browser.post(f"{page_of(short)}/rest", follow_redirects=False)
    rest = rest_of(short)
    fake_shop.say(rest.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, 5_000)
    check_invoice(rest.id)
    words = text_of(browser.get(page_of(short)))
    assert "14,000 of 21,000 sat arrived, 7,000 sat are missing" in words.replace(" sat of", " of")
    assert "Paid so far 14,000 sat" in words


def test_second_press_opens_no_second_invoice(browser, fake_shop, short):
    for _ in range(2):
        browser.post(f"{page_of(short)}/rest", follow_redirects=False)
    assert len(fake_shop.wanted) == 2


def test_nothing_is_opened_for_a_purchase_that_needs_no_rest(browser, fake_shop):
    page = page_of(make_purchase(State.WAITING))
    made = len(fake_shop.wanted)
    answer = browser.post(f"{page}/rest", follow_redirects=False)
    assert (answer.status_code, page.endswith(answer.headers["location"])) == (303, True)
    assert len(fake_shop.wanted) == made


def test_account_that_does_not_sell_now_says_so(browser, short):
    set_account(paused_at="now()", pause_reason="by hand")
    answer = browser.post(f"{page_of(short)}/rest", follow_redirects=False)
    assert answer.status_code == 503
    assert "Traceback" not in answer.text
