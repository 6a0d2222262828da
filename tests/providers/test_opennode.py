"""What the OpenNode adapter sends, and how it reads charges and callbacks."""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from keysat.core.errors import CredentialsRejected, RemoteRefused, RemoteResponseInvalid
from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import NewInvoice, ProviderStatus, Webhook
from keysat.providers.opennode import OpenNode
from keysat.providers.refusals import NotSupported, WebhookMalformed, WebhookRejected

CHARGE, OURS = "ba57e419-a6c9-41b2-a54c-b870d073d899", "0198c2d4-0000-7000-8000-000000000001"
KEY, CALLBACK = "200fa722-made-up-key-of-a-test", "https://keysat.example/v1/opennode/webhook/1"
DATA = {
    "id": CHARGE,
    "order_id": OURS,
    "status": "unpaid",
    "amount": 250_413,
    "currency": "BTC",
    "source_fiat_value": 0,
    "hosted_checkout_url": f"https://checkout.opennode.com/{CHARGE}",
}
IN_EUROS = {"amount": 20_000, "currency": "EUR", "source_fiat_value": 19.99}
NONE, PARTIAL, OVER = PaymentException.NONE, PaymentException.PARTIAL, PaymentException.OVER
PENDING, PROCESSING, SETTLED = ProviderStatus.PENDING, ProviderStatus.PROCESSING, ProviderStatus.SETTLED
EXPIRED, REFUNDED, UNKNOWN = ProviderStatus.EXPIRED, ProviderStatus.REFUNDED, ProviderStatus.UNKNOWN


def on_chain(*amounts, settled_at=1_559_657_300):
    return [{"amount": amount, "status": "confirmed", "settled_at": settled_at} for amount in amounts]


def sats(amount):
    return Money(amount, "BTC")


def wanted(price, **more):
    return NewInvoice(OURS, price, "A license of Editor", **more)


@pytest.fixture
def opennode(recorder):
    recorder.answer = (200, {"data": DATA})
    return OpenNode(recorder.url, "-", {"api_key": KEY, "webhook_secret": ""}, deadline=5, max_bytes=100_000)


@pytest.fixture
def read(opennode, recorder):
    """The snapshot of a charge that differs so from `DATA`."""

    def read(**changes):
        recorder.answer = (200, {"data": {**DATA, **changes}})
        return opennode.get_invoice(CHARGE)

    return read


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ({"created_at": 1_795_788_000, "ttl": 10}, datetime(2026, 11, 27, 14, 10, tzinfo=UTC)),
        ({"created_at": 1_795_788_000}, None),
        ({"ttl": 10}, None),
        ({"created_at": "2026-11-27", "ttl": 10}, None),
        ({"created_at": 1_795_788_000, "ttl": 10**18}, None),
    ],
)
def test_end_of_the_time_to_pay(read, facts, end):
    assert read(**facts).expires_at == end


# What it sends.


def test_create_sends_price_order_buyer_and_callback(opennode, recorder):
    more = {"buyer_email": "ü@example.com", "redirect_url": "https://shop.example/?a=1", "callback_url": CALLBACK}
    created = opennode.create_invoice(wanted(sats(2_100), **more))
    assert (recorder.only.method, recorder.only.target) == ("POST", "/v1/charges")
    assert recorder.only.headers["authorization"] == KEY
    assert recorder.only.json == {
        "amount": 2_100,
        "description": "A license of Editor",
        "order_id": OURS,
        "customer_email": "ü@example.com",
        "callback_url": CALLBACK,
        "success_url": "https://shop.example/?a=1",
    }
    assert (created.provider_invoice_id, created.checkout_url) == (CHARGE, DATA["hosted_checkout_url"])


def test_create_leaves_out_what_is_unknown(opennode, recorder):
    opennode.create_invoice(wanted(sats(1)))
    assert set(recorder.only.json) == {"amount", "description", "order_id"}


@pytest.mark.parametrize(
    ("price", "amount"),
    [(Money(1_999, "USD"), "19.99"), (Money(1, "EUR"), "0.01"), (Money(100_000_000, "GBP"), "1000000.00")],
)
def test_create_sends_other_currencies_as_exact_decimals(opennode, recorder, price, amount):
    opennode.create_invoice(wanted(price))
    assert (recorder.only.json["amount"], recorder.only.json["currency"]) == (amount, price.currency)


def test_credentials_check_reads_an_impossible_charge(opennode, recorder):
    recorder.answer = (404, {"success": False, "message": "no such charge"})
    opennode.check_credentials()
    assert recorder.only.target == "/v1/charge/00000000-0000-0000-0000-000000000000"
    recorder.answer = (401, {"success": False, "message": "Invalid API key"})
    with pytest.raises(CredentialsRejected):
        opennode.check_credentials()


def test_errors_repeat_neither_key_nor_buyer(opennode, recorder):
    back = "https://license.example.com/p/secret"
    recorder.answer = (400, {"success": False, "message": f"{KEY} of buyer@example.com at {back} is odd"})
    with pytest.raises(RemoteRefused) as caught:
        opennode.create_invoice(wanted(sats(1), buyer_email="buyer@example.com", redirect_url=back))
    assert back not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "buyer@example.com" not in str(caught.value)
    assert KEY not in repr(opennode)


# How it reads charges.

READINGS = {
    "unpaid": ({"status": "unpaid"}, PENDING, NONE, 0),
    "seen on the chain": (
        {"status": "processing", "transactions": on_chain(250_413, settled_at="")}, PROCESSING, NONE, 0,
    ),
    "paid over Lightning": ({"status": "paid"}, SETTLED, NONE, 250_413),
    "paid on the chain": ({"status": "paid", "transactions": on_chain(250_000, 413)}, SETTLED, NONE, 250_413),
    "paid over": ({"status": "paid", "transactions": on_chain(250_414), "overpaid_by": "1"}, SETTLED, OVER, 250_414),
    "overpaid without a list": ({"status": "paid", "overpaid_by": 7}, SETTLED, OVER, 250_420),
    "short, which OpenNode tolerated": ({"status": "paid", "transactions": on_chain(250_000)}, SETTLED, NONE, 250_000),
    "underpaid": (
        {"status": "underpaid", "missing_amt": "125366", "transactions": on_chain("125047", settled_at="")},
        EXPIRED, PARTIAL, 125_047,
    ),
    "underpaid without a word how much": ({"status": "underpaid"}, EXPIRED, PARTIAL, 0),
    "expired": ({"status": "expired"}, EXPIRED, NONE, 0),
    "expired with money": ({"status": "expired", "transactions": on_chain(250_413)}, EXPIRED, PARTIAL, 250_413),
    "refunded": ({"status": "refunded"}, REFUNDED, NONE, 0),
    "failed": ({"status": "failed"}, UNKNOWN, NONE, None),
    "of a new status": ({"status": "PAID"}, UNKNOWN, NONE, None),
    "without a status": ({"status": None}, UNKNOWN, NONE, None),
    "of an odd status": ({"status": ["paid"]}, UNKNOWN, NONE, None),
}  # fmt: skip


@pytest.mark.parametrize("case", READINGS)
def test_charge_has_its_reading(read, case):
    changes, status, exception, paid = READINGS[case]
    snapshot = read(**changes)
    assert (snapshot.status, snapshot.exception) == (status, exception)
    assert snapshot.paid == (None if paid is None else sats(paid))
    assert (snapshot.charged, snapshot.order_id) == (sats(250_413), OURS)


def test_payment_on_its_way_is_seen(read):
    for status in ("processing", "underpaid", "expired"):
        assert read(status=status, transactions=on_chain(1, settled_at="")).payment_seen


@pytest.mark.parametrize(
    ("changes", "paid"),
    [
        ({"status": "unpaid"}, 0),
        ({"status": "paid"}, 1_999),
        ({"status": "paid", "transactions": on_chain(19_999)}, 1_998),
        ({"status": "paid", "transactions": on_chain(40_000)}, 3_998),
        ({"status": "underpaid", "missing_amt": 10_000}, 999),
    ],
    ids=str,
)
def test_money_is_told_in_the_prices_currency_rounded_down(read, changes, paid):
    snapshot = read(**IN_EUROS, **changes)
    assert (snapshot.charged, snapshot.paid) == (Money(1_999, "EUR"), Money(paid, "EUR"))


def test_charge_without_its_price_settles_nothing(read):
    snapshot = read(status="paid", currency="EUR", source_fiat_value=None)
    assert (snapshot.charged, snapshot.paid) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "another-charge"},
        {"id": None},
        {"amount": 2.5},
        {"amount": -1},
        {"amount": "2100"},
        {"amount": True},
        {"currency": "XAU", "source_fiat_value": 1},
        {"currency": ["EUR"], "source_fiat_value": 1},
        {"currency": "EUR", "source_fiat_value": "many"},
    ],
    ids=str,
)
def test_charge_that_is_another_or_has_no_exact_price_is_refused(read, changes):
    with pytest.raises(RemoteResponseInvalid):
        read(**changes)


@pytest.mark.parametrize("body", [[], {}, {"data": None}, {"data": [DATA]}, DATA, "x"], ids=str)
def test_answer_of_another_shape_is_refused(opennode, recorder, body):
    recorder.answer = (200, body)
    for call in (lambda: opennode.get_invoice(CHARGE), lambda: opennode.create_invoice(wanted(sats(1)))):
        with pytest.raises(RemoteResponseInvalid):
            call()


def test_registering_a_webhook_is_not_supported(opennode):
    with pytest.raises(NotSupported, match="each charge carries the URL of its own"):
        opennode.connect_webhook(CALLBACK, "secret")


# How it reads callbacks.


def signature(charge_id=CHARGE, key=KEY):
    return hmac.new(key.encode(), charge_id.encode(), hashlib.sha256).hexdigest()


def callback(**changes):
    fields = {"id": CHARGE, "status": "paid", "order_id": OURS, "price": "250413", "hashed_order": signature()}
    return Webhook({}, urlencode({name: value for name, value in {**fields, **changes}.items() if value}).encode())


def test_callback_names_charge_and_order(opennode):
    event = opennode.parse_webhook(callback())
    assert (event.kind, event.provider_invoice_id, event.order_id) == ("paid", CHARGE, OURS)
    assert opennode.parse_webhook(callback()).delivery_id == event.delivery_id
    assert opennode.parse_webhook(callback(status="expired")).delivery_id != event.delivery_id


@pytest.mark.parametrize(
    "changes",
    [
        {"hashed_order": None},
        {"hashed_order": signature(key="another-key")},
        {"hashed_order": signature("another-charge")},
        {"id": "another-charge"},
        {"id": None},
        {"id": "x" * 201, "hashed_order": signature("x" * 201)},
    ],
    ids=["unsigned", "another key", "another id signed", "another id", "no id", "endless id"],
)
def test_forged_callback_is_rejected(opennode, changes):
    with pytest.raises(WebhookRejected):
        opennode.parse_webhook(callback(**changes))


def test_signed_callback_without_a_status_is_malformed(opennode):
    with pytest.raises(WebhookMalformed):
        opennode.parse_webhook(callback(status=None))


@pytest.mark.parametrize("body", [b"\xff", b'{"id": 1}', b"&".join([b"a=b"] * 501), b"id=%ff&hashed_order=1"])
def test_body_of_another_form_is_rejected(opennode, body):
    with pytest.raises(WebhookRejected):
        opennode.parse_webhook(Webhook({}, body))
