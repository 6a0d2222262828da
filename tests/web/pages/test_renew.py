"""Renewing and cancelling on the pages of a license's holder."""

import re

import pytest
from sqlalchemy import func

from keysat.catalog.changes import change_policy
from keysat.core.db import transaction
from keysat.licenses.edit import transfer_license
from keysat.models.license import LicenseStatus
from keysat.sales.license_changes import change_license
from tests.builders import load_invoice, set_account, set_license
from tests.renewals import (
    GRACE,
    PERIOD,
    let_end,
    load_license,
    load_subscription,
    open_renewal,
    pay,
    sell_recurring,
)
from tests.web.pages.conftest import form_key, text_of, title_of

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake", "many_attempts")
RENEW = "Renew: 21,000 sat"


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


@pytest.fixture
def page(sold, signer):
    """The path of the purchase's page."""
    return f"/p/{signer.purchase_token(sold.invoice_id)}"


def proof(response):
    return re.search(r'name="pass" value="([\w=-]+)"', response.text)[1]


def newest(fake):
    return load_invoice(fake.wanted[-1].order_id)


def test_page_of_the_purchase_renews(browser, fake, signer, sold, page):
    shown = browser.get(page)
    assert RENEW in text_of(shown)
    opened = browser.post(f"{page}/renew")
    renewal = newest(fake)
    renewal_page = f"/p/{signer.purchase_token(renewal.id)}"
    assert (opened.status_code, opened.headers["Location"].endswith(f"{renewal_page}/pay")) == (303, True)
    assert renewal.checkout_url in browser.get(f"{renewal_page}/pay").text
    assert title_of(browser.get(renewal_page)).startswith("Waiting for your payment")
    pay(fake, renewal, signer)
    row = load_license(sold.id)
    assert row.expires_at == sold.expires_at + PERIOD
    for path in (page, renewal_page):
        assert signer.key_for(row) in browser.get(path).text
        assert RENEW not in text_of(browser.get(path))


def test_page_of_an_ended_license_renews_in_place_of_selling_again(browser, sold, page):
    let_end(sold, 2 * GRACE)
    words = text_of(browser.get(page))
    assert "This license is over" in words
    assert RENEW in words
    assert "Buy again" not in words


def test_renewal_pressed_twice_or_too_early_leads_on(browser, fake, signer, sold, page):
    first, second = (browser.post(f"{page}/renew").headers["Location"] for _ in range(2))
    assert first == second
    pay(fake, newest(fake), signer)
    assert browser.post(f"{page}/renew").headers["Location"].endswith(page)
    assert browser.get(f"{page}/renew").headers["Location"].endswith(page)


def test_renewal_at_a_provider_that_rests_is_explained(browser, sold, page):
    set_account(paused_at=func.now(), pause_reason="by hand")
    answer = browser.post(f"{page}/renew")
    assert answer.status_code == 503
    assert "take payments" in text_of(answer) or "try again" in text_of(answer)


@pytest.mark.parametrize("status", [LicenseStatus.SUSPENDED, LicenseStatus.REVOKED])
def test_withdrawn_license_shows_no_renewal(browser, sold, page, status):
    with transaction() as session:
        change_license(session, sold.id, status, "cli", "abuse")
    assert RENEW not in text_of(browser.get(page))
    assert browser.post(f"{page}/renew").headers["Location"].endswith(page)


def test_former_holder_neither_sees_the_renewed_key_nor_renews(browser, fake, signer, sold, page):
    renewal = pay(fake, open_renewal(sold.id), signer)
    set_license(sold.id, expires_at=sold.expires_at)
    with transaction() as session:
        transfer_license(session, sold.id, "new@example.com", "cli", "sold on")
    key = signer.key_for(load_license(sold.id))
    for path in (page, f"/p/{signer.purchase_token(renewal.id)}"):
        shown = browser.get(path)
        assert key not in shown.text
        assert RENEW not in text_of(shown)
        assert browser.post(f"{path}/renew").headers["Location"].endswith(path)


def test_holder_renews_and_cancels_by_key(browser, fake, signer, sold):
    mine = browser.post("/me", key=signer.key_for(sold))
    assert RENEW in text_of(mine)
    form = {"pass": proof(mine), "license": sold.id}
    cancelled = browser.post("/me", do="cancel", **form)
    assert "The subscription is cancelled" in text_of(cancelled)
    assert "Cancel the subscription" not in text_of(cancelled)
    assert load_subscription(sold.id).cancelled
    opened = browser.post("/me/renew", **form)
    assert opened.headers["Location"].endswith(f"/p/{signer.purchase_token(newest(fake).id)}/pay")
    pay(fake, newest(fake), signer)
    assert not load_subscription(sold.id).cancelled
    again = browser.post("/me/renew", **form)
    assert "be renewed now" in text_of(again)


def test_pass_is_needed(browser, sold):
    assert browser.post("/me/renew", license=sold.id).status_code == 404
    assert browser.post("/me/renew", license=sold.id, **{"pass": "rubbish"}).status_code == 404


def test_renewal_in_german(browser, sold, page):
    assert "Verlängern: 21.000 sat" in text_of(browser.get(f"{page}?lang=de"))


def test_card_tells_that_a_policy_renews(browser, sold):
    assert "Renewable at the same price" in text_of(browser.get("/buy/editor"))


def test_trial_begins_on_the_form_once_and_is_paid_without_it(browser, fake, sold):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"trial_days": 14}, "cli")
    form = browser.get("/buy/editor")
    assert "Begins with 14 days for free" in text_of(form)
    fields = {"policy": "standard", "key": form_key(form)}
    refused = browser.post("/buy/editor", do="buy", **fields)
    assert "A trial needs your e-mail address" in text_of(refused)
    begun = browser.post("/buy/editor", do="buy", email="new@example.com", **fields)
    shown = text_of(browser.get(begun.headers["Location"]))
    assert "Your license key" in shown
    assert "Trial" in shown
    again = browser.post("/buy/editor", do="buy", email="NEW@example.com", **{**fields, "key": form_key(refused)})
    assert "There was a trial with this address already" in text_of(again)
    paid = browser.post("/buy/editor", do="pay", email="new@example.com", **fields)
    assert paid.status_code == 303
    assert newest(fake).amount == 21_000
