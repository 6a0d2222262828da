"""Renewals over HTTP: a program renews by its key, polls for the renewed one, and learns of it when it validates."""

import pytest

from keysat.catalog.changes import change_policy
from keysat.core.db import transaction
from keysat.licenses.edit import replace_key, transfer_license
from keysat.licenses.keys import parse
from keysat.models.license import LicenseStatus
from keysat.sales.license_changes import change_license
from tests.builders import PRICE, invoice_of, load_invoice, make_license
from tests.renewals import GRACE, PERIOD, let_end, load_license, load_subscription, pay, sell_recurring

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
FIELDS = {"invoice_id", "btcpay_invoice_id", "checkout_url", "amount", "currency", "poll_url"}


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


@pytest.fixture
def key(sold, signer):
    return signer.key_for(sold)


def test_program_renews_and_goes_on_validating(api, fake, signer, sold, key):
    before = api.post("/v1/validate", {"key": key}).json()
    assert before["ok"]
    assert "license_key" not in before
    opened = api.post("/v1/renew", {"license_key": key}).json()
    assert set(opened) >= FIELDS
    assert (opened["amount"], opened["amount_sats"]) == (PRICE, PRICE)
    renewal = load_invoice(invoice_of(opened["invoice_id"]))
    assert fake.wanted[-1].redirect_url.endswith(f"/p/{opened['invoice_id']}")
    waiting = api.get(f"/v1/purchase/{opened['invoice_id']}").json()
    assert (waiting["status"], waiting["license_key"], waiting["license_id"]) == ("pending", None, None)
    pay(fake, renewal, signer)
    polled = api.get(f"/v1/purchase/{opened['invoice_id']}").json()
    assert (polled["status"], polled["state"], polled["license_id"]) == ("settled", "licensed", str(sold.id))
    assert parse(polled["license_key"]).expires_at == int((sold.expires_at + PERIOD + GRACE).timestamp())
    after = api.post("/v1/validate", {"key": key}).json()
    assert (after["ok"], after["license_key"]) == (True, polled["license_key"])
    assert after["expires_at"] == (sold.expires_at + PERIOD).isoformat()
    assert "license_key" not in api.post("/v1/validate", {"key": polled["license_key"]}).json()
    purchase = api.get(f"/v1/purchase/{signer.purchase_token(sold.invoice_id)}").json()
    assert purchase["license_key"] == polled["license_key"]


def test_ended_license_is_renewed_by_its_old_key(api, fake, signer, sold, key):
    let_end(sold, 2 * GRACE)
    assert api.post("/v1/validate", {"key": key}).json()["reason"] == "expired"
    opened = api.post("/v1/renew", {"license_key": key, "redirect_url": "https://app.example.com/done"}).json()
    assert fake.wanted[-1].redirect_url == "https://app.example.com/done"
    pay(fake, load_invoice(invoice_of(opened["invoice_id"])), signer)
    assert api.post("/v1/validate", {"key": key}).json()["ok"]


def test_repeated_request_gets_the_same_invoice(api, key):
    first, second = (api.post("/v1/renew", {"license_key": key}).json() for _ in range(2))
    assert first == second


def test_purchase_page_shows_no_key_of_a_former_holder(api, fake, signer, sold, key):
    opened = api.post("/v1/renew", {"license_key": key}).json()
    pay(fake, load_invoice(invoice_of(opened["invoice_id"])), signer)
    with transaction() as session:
        transfer_license(session, sold.id, "new@example.com", "cli", "sold on")
    polled = api.get(f"/v1/purchase/{opened['invoice_id']}").json()
    assert (polled["license_key"], polled["license_id"]) == (None, None)
    new = api.post("/v1/renew", {"license_key": signer.key_for(load_license(sold.id))})
    assert new.status_code == 409  # paid ahead
    let_end(sold, GRACE)
    opened = api.post("/v1/renew", {"license_key": signer.key_for(load_license(sold.id))}).json()
    pay(fake, load_invoice(invoice_of(opened["invoice_id"])), signer)
    assert api.get(f"/v1/purchase/{opened['invoice_id']}").json()["license_id"] == str(sold.id)


@pytest.mark.parametrize("path", ["/v1/renew", "/v1/subscriptions/cancel"])
def test_key_that_opens_nothing_is_not_found(api, signer, sold, key, path):
    assert api.post(path, {"license_key": "LIC1-NO-KEY"}).status_code == 404
    with transaction() as session:
        replace_key(session, sold.id, "cli", "leaked")
    assert api.post(path, {"license_key": key}).status_code == 404


@pytest.mark.parametrize("path", ["/v1/renew", "/v1/subscriptions/cancel"])
def test_license_sold_once_is_a_conflict(api, signer, path):
    once = make_license("viewer")
    refused = api.post(path, {"license_key": signer.key_for(once)})
    assert (refused.status_code, "sold once" in refused.json()["message"]) == (409, True)


def test_withdrawn_license_is_a_conflict(api, sold, key):
    with transaction() as session:
        change_license(session, sold.id, LicenseStatus.SUSPENDED, "cli", "abuse")
    assert api.post("/v1/renew", {"license_key": key}).status_code == 409


def test_holder_cancels(api, sold, key):
    first = api.post("/v1/subscriptions/cancel", {"license_key": key, "reason": "no need any more"}).json()
    subscription = load_subscription(sold.id)
    assert first == {
        "ok": True,
        "subscription_id": str(subscription.id),
        "status": "cancelled",
        "already": False,
    }
    assert subscription.cancelled
    assert api.post("/v1/subscriptions/cancel", {"license_key": key}).json()["already"]
    assert api.post("/v1/validate", {"key": key}).json()["ok"]


def test_listing_tells_which_policies_renew(api, sold):
    [policy] = api.get("/v1/products/editor/policies").json()["policies"]
    assert (policy["is_recurring"], policy["renewal_period_days"]) == (True, 30)


def test_trial_comes_with_its_key_and_is_refused_twice(api, sold):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"trial_days": 14}, "cli")
    [policy] = api.get("/v1/products/editor/policies").json()["policies"]
    assert policy["trial_days"] == 14
    wanted = {"product": "editor", "buyer_email": "new@example.com", "fingerprint": "desk"}
    begun = api.post("/v1/purchase", wanted).json()
    assert (begun["checkout_url"], begun["amount"]) == ("", 0)
    assert parse(begun["license_key"]).is_trial
    for again in ({"buyer_email": "New+x@example.com"}, {"fingerprint": "desk"}):
        assert api.post("/v1/purchase", {"product": "editor", **again}).status_code == 409
    assert api.post("/v1/purchase", {"product": "editor"}).status_code == 400
    assert api.post("/v1/purchase", {"product": "editor", "trial": False}).json()["amount"] == PRICE
