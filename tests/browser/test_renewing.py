"""Renewals in a real browser: from the page of a purchase to the renewed key, and the pages with their buttons."""

import pytest

from keysat.catalog.changes import change_policy
from keysat.core.db import transaction
from keysat.licenses.keys import verify
from tests.browser.conftest import ONE_LOOK, assert_is_titled, examine
from tests.builders import load_invoice, load_licenses
from tests.renewals import GRACE, PERIOD, let_end, load_license, pay, sell_recurring

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake")


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


def test_purchase_is_renewed_and_shows_the_new_key(open_page, fake, signer, sold):
    page = open_page(f"/p/{signer.purchase_token(sold.invoice_id)}")
    examine(page, "purchase-renewable")
    page.route("**/pay", lambda route: route.fulfill(body="<title>the checkout</title>", content_type="text/html"))
    page.get_by_role("button", name="Renew: 21,000 sat").click()
    page.wait_for_url("**/pay")
    renewal = load_invoice(fake.wanted[-1].order_id)
    pay(fake, renewal, signer)
    open_page.go(page, f"/p/{signer.purchase_token(renewal.id)}")
    key = verify(page.locator("#key").inner_text().strip(), signer.public_key)
    assert (key.license_id, key.expires_at) == (sold.id, int((sold.expires_at + PERIOD + GRACE).timestamp()))
    examine(page, "purchase-renewed", ONE_LOOK)


def test_ended_license_offers_its_renewal(open_page, signer, sold):
    let_end(sold, 2 * GRACE)
    page = open_page(f"/p/{signer.purchase_token(sold.invoice_id)}?lang=de")
    assert_is_titled(page, "Diese Lizenz ist abgelaufen", "de")
    assert page.get_by_role("button", name="Verlängern: 21.000 sat").is_visible()
    examine(page, "purchase-ended-renewable")


def test_holder_cancels_and_renews(open_page, signer, sold):
    page = open_page("/me?lang=de")
    page.fill("#key", signer.key_for(load_license(sold.id)))
    page.click("main button")
    examine(page, "licenses-renewable")
    page.get_by_role("button", name="Abonnement kündigen").click()
    assert page.locator(".banner").inner_text().startswith("Das Abonnement ist gekündigt")
    assert page.get_by_role("button", name="Verlängern").is_visible()
    examine(page, "licenses-cancelled", ONE_LOOK)


def test_trial_begins_in_the_browser(open_page, signer, sold):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"trial_days": 14}, "cli")
    page = open_page("/buy/editor")
    examine(page, "buy-trial")
    page.fill("#email", "new@example.com")
    page.click(".go button[value=buy]")
    page.wait_for_selector("#key")
    newest = load_licenses()[-1]
    assert verify(page.locator("#key").inner_text().strip(), signer.public_key).license_id == newest.id
    assert newest.is_trial
    examine(page, "purchase-trial", ONE_LOOK)
