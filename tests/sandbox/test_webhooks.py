import hashlib
import hmac

import pytest

from keysat.core.errors import RemoteRefused
from tests.sandbox.conftest import SECRET

PAID = ["InvoiceReceivedPayment", "InvoicePaymentSettled", "InvoiceProcessing", "InvoiceSettled"]


def settle_counts(client, **wanted):
    """Wait for these webhook numbers in the ledger, which records a response a moment after it was sent."""
    for _ in range(2000):
        counts = client.ledger()["webhooks"]
        if counts == {"sent": 0, "dropped": 0, "delivered": 0, "failed": 0, **wanted}:
            return
    pytest.fail(f"the counts stay {counts}")


def test_they_are_signed_and_carry_the_invoice(merchant, sandbox, merchant_receiver, clock):
    invoice = merchant.create(metadata={"orderId": "42", "text": "ü"})
    event = merchant_receiver.next()
    signature = hmac.new(SECRET.encode(), merchant_receiver.last_body, hashlib.sha256).hexdigest()
    assert merchant_receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"
    assert (event["type"], event["storeId"], event["invoiceId"]) == ("InvoiceCreated", "shop", invoice["id"])
    assert event["metadata"] == invoice["metadata"]
    assert event["timestamp"] == int(clock.now)
    assert (event["isRedelivery"], event["originalDeliveryId"]) == (False, event["deliveryId"])
    settle_counts(sandbox, sent=1, delivered=1)


def test_without_a_secret_the_key_is_empty(merchant, sandbox, merchant_receiver):
    sandbox.register_store("shop", merchant.key, merchant_receiver.url)
    merchant.create()
    merchant_receiver.next()
    signature = hmac.new(b"", merchant_receiver.last_body, hashlib.sha256).hexdigest()
    assert merchant_receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"


def test_each_change_has_its_event(merchant, sandbox, merchant_receiver):
    invoice = merchant.create()
    sandbox.pay(invoice["id"])
    assert merchant_receiver.types(5) == ["InvoiceCreated", *PAID]
    sandbox.refund(invoice["id"])
    event = merchant_receiver.next()
    assert (event["type"], event["manuallyMarked"]) == ("InvoiceInvalid", True)
    sandbox.mark(invoice["id"], "Settled")
    event = merchant_receiver.next()
    assert (event["type"], event["manuallyMarked"]) == ("InvoiceSettled", True)


def test_confirming_has_its_events(merchant, sandbox, merchant_receiver):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], "0.1", confirmations=0)
    assert merchant_receiver.types(2) == ["InvoiceCreated", "InvoiceReceivedPayment"]
    event = merchant_receiver.next()
    assert (event["type"], event["overPaid"]) == ("InvoiceProcessing", True)
    sandbox.confirm(invoice["id"])
    event = merchant_receiver.next()
    assert (event["type"], event["payment"]["status"]) == ("InvoicePaymentSettled", "Settled")
    event = merchant_receiver.next()
    assert (event["type"], event["overPaid"], event["manuallyMarked"]) == ("InvoiceSettled", True, False)


def test_a_late_payment_settles_the_payment_but_never_the_invoice(merchant, sandbox, merchant_receiver):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], late=True)
    assert merchant_receiver.types(2) == ["InvoiceCreated", "InvoiceExpired"]
    received, settled = merchant_receiver.next(), merchant_receiver.next()
    assert (received["type"], received["afterExpiration"]) == ("InvoiceReceivedPayment", True)
    assert (settled["type"], settled["afterExpiration"]) == ("InvoicePaymentSettled", True)
    settle_counts(sandbox, sent=4, delivered=4)


def test_expiry_sends_webhook_without_reads(merchant, sandbox, merchant_receiver, clock):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], "0.00000001")
    merchant_receiver.types(3)
    clock.now += 901
    event = merchant_receiver.next()
    assert (event["type"], event["partiallyPaid"]) == ("InvoiceExpired", True)


def test_dropped_ones_never_come(merchant, sandbox, merchant_receiver):
    sandbox.set_webhooks(drop=1.0)
    sandbox.pay(merchant.create()["id"])
    settle_counts(sandbox, dropped=5)
    sandbox.set_webhooks()
    invoice = merchant.create()
    assert merchant_receiver.next()["invoiceId"] == invoice["id"]


def test_duplicates_are_the_same_delivery_twice(merchant, sandbox, merchant_receiver):
    sandbox.set_webhooks(duplicate=1.0)
    merchant.create()
    assert merchant_receiver.next() == merchant_receiver.next()
    settle_counts(sandbox, sent=2, delivered=2)


@pytest.mark.parametrize("status", [500, 503, 429, 408, None])
def test_a_failure_is_retried_as_a_redelivery(merchant, sandbox, merchant_receiver, status):
    merchant_receiver.statuses = [status]
    merchant.create()
    first, second = merchant_receiver.next(), merchant_receiver.next()
    assert second["isRedelivery"]
    assert second["deliveryId"] != first["deliveryId"] == second["originalDeliveryId"]
    settle_counts(sandbox, sent=1, delivered=1)


@pytest.mark.parametrize("status", [400, 404, 302])
def test_any_other_status_is_final(merchant, sandbox, merchant_receiver, status):
    merchant_receiver.statuses = [status]
    merchant.create()
    settle_counts(sandbox, sent=1, failed=1)


def test_retries_end(merchant, sandbox, merchant_receiver):
    sandbox.set_webhooks(retry_delays=[0.01])
    merchant_receiver.statuses = [500] * 2
    merchant.create()
    merchant_receiver.types(2)
    settle_counts(sandbox, sent=1, failed=1)


def test_a_delay_keeps_the_order(merchant, sandbox, merchant_receiver):
    sandbox.set_webhooks(delay_seconds=(0.0, 0.1), seed=3)
    sandbox.pay(merchant.create()["id"])
    assert merchant_receiver.types(5) == ["InvoiceCreated", *PAID]


def test_reordering_breaks_the_order_but_loses_none(merchant, sandbox, merchant_receiver):
    sandbox.set_webhooks(reorder=True, seed=1)
    sandbox.pay(merchant.create()["id"])
    came = merchant_receiver.types(5)
    assert came != ["InvoiceCreated", *PAID]
    assert sorted(came) == sorted(["InvoiceCreated", *PAID])


def test_a_store_without_a_webhook_gets_none(merchant, sandbox):
    merchant.create()
    settle_counts(sandbox)


@pytest.mark.parametrize(
    "plan",
    [
        {"drop": 2},
        {"duplicate": "x"},
        {"delay_seconds": (2, 1)},
        {"delay_seconds": (1,)},
        {"delay_seconds": (-1, 1)},
        {"reorder": 1},
        {"seed": "x"},
        {"retry_delays": [None]},
    ],
)
def test_a_malformed_plan_is_refused(sandbox, plan):
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        sandbox.set_webhooks(**plan)


def test_a_webhook_url_has_to_be_one(sandbox):
    with pytest.raises(RemoteRefused, match="http"):
        sandbox.register_store("shop", "key", "file:///tmp")
