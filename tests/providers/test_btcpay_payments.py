"""Which of BTCPay's payments prove who paid, by the payment methods of an invoice."""

from datetime import UTC, datetime

import pytest

from keysat.net.client import HttpResponse
from keysat.providers.btcpay.responses import received_payments, summary

HASH = "ab" * 32
AT = 1_790_000_000


def method(name="BTC-LN", *ids, status="Settled", field="paymentMethodId"):
    return {field: name, "payments": [{"id": one, "receivedDate": AT, "status": status} for one in ids]}


def read(*methods):
    return summary(received_payments(HttpResponse(200, list(methods))))


@pytest.mark.parametrize("name", ["BTC-LN", "BTC-LNURL", "LTC-LN", "BTC-LightningNetwork", "BTC-LNURLPAY"])
@pytest.mark.parametrize("field", ["paymentMethodId", "paymentMethod"])
def test_id_of_a_lightning_payment_is_its_hash(name, field):
    found = read(method("BTC-CHAIN"), method(name, HASH, field=field))
    assert (found.last_at, found.payment_hashes) == (datetime.fromtimestamp(AT, UTC), (bytes.fromhex(HASH),))


@pytest.mark.parametrize(
    "methods",
    [
        [],
        [method("BTC-LN")],
        [method("BTC-CHAIN", HASH)],
        [method("LN", HASH)],
        [method(None, HASH)],
        [method("BTC-LN", f"{HASH}-0")],
        [method("BTC-LN", HASH.upper())],
        [method("BTC-LN", "lnbc210u1p")],
        [method("BTC-LN", None)],
        [method("BTC-LN", HASH, status="Processing")],
        [method("BTC-LN", HASH, status="Invalid")],
        [method("BTC-LN", HASH, HASH)],
        [method("BTC-LN", HASH, "cd" * 32)],
        [method("BTC-LN", HASH), method("BTC-CHAIN", f"{HASH}-0")],
    ],
)
def test_other_payments_prove_nothing(methods):
    """Nobody alone paid an invoice with several payments."""
    assert read(*methods).payment_hashes == ()


def test_invoice_of_an_unpaid_lightning_payment_proves_nothing():
    """BTCPay names the payment hash of each invoice it offers, and of each it was paid."""
    offered = {**method("BTC-LN"), "destination": "lnbc1", "additionalData": {"paymentHash": HASH}}
    found = read(offered, method("BTC-CHAIN", "txid-0"))
    assert (found.payment_hashes, found.last_at is None) == ((), False)
