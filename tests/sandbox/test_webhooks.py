import hashlib
import hmac

import pytest

from keysat.core.errors import RemoteRefused
from tests.sandbox.conftest import SECRET

PAID = ["InvoiceReceivedPayment", "InvoicePaymentSettled", "InvoiceProcessing", "InvoiceSettled"]


def settle_counts(client, **wanted):
    """Wait until the ledger's webhook counts are these: an answer is counted a moment after it was sent."""
    for _ in range(2000):
        counts = client.ledger()["webhooks"]
        if counts == {"sent": 0, "dropped": 0, "delivered": 0, "failed": 0, **wanted}:
            return
    pytest.fail(f"the counts stay {counts}")


def test_they_are_signed_and_carry_the_invoice(shop, client, receiver, clock):
    invoice = shop.create(metadata={"orderId": "42", "text": "ü"})
    event = receiver.next()
    signature = hmac.new(SECRET.encode(), receiver.last_body, hashlib.sha256).hexdigest()
    assert receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"
    assert (event["type"], event["storeId"], event["invoiceId"]) == ("InvoiceCreated", "shop", invoice["id"])
    assert event["metadata"] == invoice["metadata"]
    assert event["timestamp"] == int(clock.now)
    assert (event["isRedelivery"], event["originalDeliveryId"]) == (False, event["deliveryId"])
    settle_counts(client, sent=1, delivered=1)


def test_without_a_secret_the_key_is_empty(shop, client, receiver):
    client.register_store("shop", shop.key, receiver.url)
    shop.create()
    receiver.next()
    signature = hmac.new(b"", receiver.last_body, hashlib.sha256).hexdigest()
    assert receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"


def test_each_change_has_its_event(shop, client, receiver):
    invoice = shop.create()
    client.pay(invoice["id"])
    assert receiver.types(5) == ["InvoiceCreated", *PAID]
    client.refund(invoice["id"])
    event = receiver.next()
    assert (event["type"], event["manuallyMarked"]) == ("InvoiceInvalid", True)
    client.mark(invoice["id"], "Settled")
    event = receiver.next()
    assert (event["type"], event["manuallyMarked"]) == ("InvoiceSettled", True)


def test_confirming_has_its_events(shop, client, receiver):
    invoice = shop.create()
    client.pay(invoice["id"], "0.1", confirmations=0)
    assert receiver.types(2) == ["InvoiceCreated", "InvoiceReceivedPayment"]
    event = receiver.next()
    assert (event["type"], event["overPaid"]) == ("InvoiceProcessing", True)
    client.confirm(invoice["id"])
    event = receiver.next()
    assert (event["type"], event["payment"]["status"]) == ("InvoicePaymentSettled", "Settled")
    event = receiver.next()
    assert (event["type"], event["overPaid"], event["manuallyMarked"]) == ("InvoiceSettled", True, False)


def test_a_late_payment_settles_the_payment_but_never_the_invoice(shop, client, receiver):
    invoice = shop.create()
    client.pay(invoice["id"], late=True)
    assert receiver.types(2) == ["InvoiceCreated", "InvoiceExpired"]
    received, settled = receiver.next(), receiver.next()
    assert (received["type"], received["afterExpiration"]) == ("InvoiceReceivedPayment", True)
    assert (settled["type"], settled["afterExpiration"]) == ("InvoicePaymentSettled", True)
    settle_counts(client, sent=4, delivered=4)


def test_expiry_is_told_although_nobody_reads(shop, client, receiver, clock):
    invoice = shop.create()
    client.pay(invoice["id"], "0.00000001")
    receiver.types(3)
    clock.now += 901
    event = receiver.next()
    assert (event["type"], event["partiallyPaid"]) == ("InvoiceExpired", True)


def test_dropped_ones_never_come(shop, client, receiver):
    client.set_webhooks(drop=1.0)
    client.pay(shop.create()["id"])
    settle_counts(client, dropped=5)
    client.set_webhooks()
    invoice = shop.create()
    assert receiver.next()["invoiceId"] == invoice["id"]


def test_duplicates_are_the_same_delivery_twice(shop, client, receiver):
    client.set_webhooks(duplicate=1.0)
    shop.create()
    assert receiver.next() == receiver.next()
    settle_counts(client, sent=2, delivered=2)


@pytest.mark.parametrize("status", [500, 503, 429, 408, None])
def test_a_failure_is_retried_as_a_redelivery(shop, client, receiver, status):
    receiver.statuses = [status]
    shop.create()
    first, second = receiver.next(), receiver.next()
    assert second["isRedelivery"]
    assert second["deliveryId"] != first["deliveryId"] == second["originalDeliveryId"]
    settle_counts(client, sent=1, delivered=1)


@pytest.mark.parametrize("status", [400, 404, 302])
def test_any_other_status_is_final(shop, client, receiver, status):
    receiver.statuses = [status]
    shop.create()
    settle_counts(client, sent=1, failed=1)


def test_retries_end(shop, client, receiver):
    client.set_webhooks(retry_delays=[0.01])
    receiver.statuses = [500] * 2
    shop.create()
    receiver.types(2)
    settle_counts(client, sent=1, failed=1)


def test_a_delay_keeps_the_order(shop, client, receiver):
    client.set_webhooks(delay_seconds=(0.0, 0.1), seed=3)
    client.pay(shop.create()["id"])
    assert receiver.types(5) == ["InvoiceCreated", *PAID]


def test_reordering_breaks_the_order_but_loses_none(shop, client, receiver):
    client.set_webhooks(reorder=True, seed=1)
    client.pay(shop.create()["id"])
    came = receiver.types(5)
    assert came != ["InvoiceCreated", *PAID]
    assert sorted(came) == sorted(["InvoiceCreated", *PAID])


def test_a_store_without_a_webhook_gets_none(shop, client):
    shop.create()
    settle_counts(client)


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
def test_a_malformed_plan_is_refused(client, plan):
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        client.set_webhooks(**plan)


def test_a_webhook_url_has_to_be_one(client):
    with pytest.raises(RemoteRefused, match="http"):
        client.register_store("shop", "key", "file:///tmp")
