"""Buying over HTTP, in the shapes that published clients read."""

import pytest

from keysat.tasks import scan_pending  # noqa: F401 - registers the tasks
from tests.builders import load_invoice, look, make_shop

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def shop(fake):
    make_shop()
    return fake


def test_purchase_has_the_contracts_fields(api, shop):
    started = api.post("/v1/purchase", {"product": "editor", "buyer_email": "b@example.com"}).json()
    invoice = load_invoice(started["invoice_id"])
    assert started["btcpay_invoice_id"] == invoice.provider_invoice_id
    assert started["checkout_url"] == invoice.checkout_url
    assert (started["amount_sats"], started["base_price_sats"], started["discount_applied_sats"]) == (21000, 21000, 0)
    assert started["poll_url"].endswith(f"/v1/purchase/{invoice.id}")
    assert not {"license_key", "license_id"} & set(started)


def test_poll_tells_pending_until_it_is_paid(api, shop):
    started = api.post("/v1/purchase", {"product": "editor"}).json()
    polled = api.get(f"/v1/purchase/{started['invoice_id']}").json()
    assert (polled["status"], polled["license_key"], polled["license_id"]) == ("pending", None, None)
    look(load_invoice(started["invoice_id"]).id)
