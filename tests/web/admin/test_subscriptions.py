"""Subscriptions over the admin API."""

import pytest

from tests.builders import PRICE, invoice_of, load_invoice, make_license
from tests.renewals import DAY, PERIOD, let_end, load_license, load_subscription, make_recurring, pay


@pytest.fixture
def sold(admin, fake, signer):
    make_recurring()
    answer = admin._api.post("/v1/purchase", {"product": "editor", "buyer_email": "buyer@example.com"}).json()
    bought = pay(fake, load_invoice(invoice_of(answer["invoice_id"])), signer)
    [row] = admin.get("licenses", invoice_id=str(bought.id))
    return load_license(row["id"])


def test_subscription_is_found_and_shown(admin, sold):
    [row] = admin.get("subscriptions")
    assert (row["license_id"], row["product"], row["status"]) == (str(sold.id), "editor", "active")
    assert (row["amount"], row["currency"], row["period_seconds"]) == (PRICE, "BTC", PERIOD.total_seconds())
    assert admin.get(f"subscriptions/{sold.id}") == row
    let_end(sold, DAY)
    assert admin.get("subscriptions", status="active") == []
    assert [row["status"] for row in admin.get("subscriptions", status="past_due")] == ["past_due"]


def test_renewal_is_opened(admin, fake, signer, sold):
    opened = admin.post(f"subscriptions/{sold.id}/renew")
    renewal = load_invoice(invoice_of(opened["invoice_id"]))
    assert (renewal.target_license_id, opened["checkout_url"]) == (sold.id, renewal.checkout_url)
    assert admin.get(f"invoices/{renewal.id}")["invoice"]["target_license_id"] == str(sold.id)
    pay(fake, renewal, signer)
    assert admin.get(f"licenses/{sold.id}")["expires_at"] == (sold.expires_at + PERIOD).isoformat().replace(
        "+00:00", "Z"
    )
    assert admin.call("POST", f"subscriptions/{sold.id}/renew").status_code == 409


def test_subscription_is_cancelled_with_a_note(admin, sold):
    assert admin.call("POST", f"subscriptions/{sold.id}/cancel", {}).status_code == 400
    row = admin.post(f"subscriptions/{sold.id}/cancel", {"note": "asked by mail"})
    assert (row["status"], row["cancelled_at"] is None) == ("cancelled", False)
    assert load_subscription(sold.id).cancelled


def test_license_without_a_subscription_is_refused(admin):
    once = make_license("viewer")
    assert admin.call("GET", f"subscriptions/{once.id}").status_code == 404
    assert admin.call("POST", f"subscriptions/{once.id}/renew").status_code == 409
    assert admin.call("POST", f"subscriptions/{once.id}/cancel", {"note": "why"}).status_code == 409
