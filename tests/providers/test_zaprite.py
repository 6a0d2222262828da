"""The Zaprite adapter's requests, and its reading of responses and events without a documented shape."""

import json
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from keysat.core.errors import (
    CredentialsRejected,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import NewInvoice, ProviderStatus, Webhook
from keysat.providers.refusals import MIN_SECRET_BYTES, NotSupported, WebhookMalformed, WebhookRejected
from keysat.providers.zaprite.adapter import Zaprite

ORDER, OURS, SECRET = "od_7tPIRHBoaC", "0198c2d4-0000-7000-8000-000000000001", "a-token-of-at-least-24-bytes"
ANSWER = {
    "id": ORDER,
    "externalUniqId": OURS,
    "checkoutUrl": f"https://pay.zaprite.com/order/{ORDER}",
    "status": "PENDING",
    "totalAmount": 2_100,
    "currency": "BTC",
    "transactions": [],
}
NONE, PARTIAL, OVER = PaymentException.NONE, PaymentException.PARTIAL, PaymentException.OVER


def adapter(url, secret=SECRET):
    credentials = {"api_key": "key-1", "webhook_secret": secret}
    return Zaprite(url, "-", credentials, deadline=5, max_bytes=100_000)


def answer(**changes):
    return {name: value for name, value in {**ANSWER, **changes}.items() if value is not ...}


def received(*amounts, currency="BTC"):
    return [{"amountInOrderCurrency": amount, "orderCurrency": currency} for amount in amounts]


def wanted(price, **more):
    return NewInvoice(OURS, price, "A license of Editor", **more)


@pytest.fixture
def zaprite(recorder):
    recorder.answer = (200, ANSWER)
    return adapter(recorder.url)


@pytest.fixture
def read(zaprite, recorder):
    """The snapshot of an order with these differences from `ANSWER`."""

    def read(**changes):
        recorder.answer = (200, answer(**changes))
        return zaprite.get_invoice(ORDER)

    return read


@pytest.mark.parametrize(
    ("expires_at", "end"),
    [
        ("2026-11-27T14:05:00.000Z", datetime(2026, 11, 27, 14, 5, tzinfo=UTC)),
        ("2026-11-27T16:05:00+02:00", datetime(2026, 11, 27, 14, 5, tzinfo=UTC)),
        (None, None),
        (..., None),
        ("soon", None),
        (1_795_788_300, None),
        ("0001-01-01T00:00:00+02:00", None),
    ],
)
def test_end_of_the_time_to_pay(read, expires_at, end):
    assert read(expiresAt=expires_at).expires_at == end


# What it sends.


def test_create_sends_amount_order_buyer_and_the_way_back(zaprite, recorder):
    price = Money(2_100, "BTC")
    created = zaprite.create_invoice(
        wanted(price, buyer_email="ü@example.com", redirect_url="https://shop.example/?a=1&b")
    )
    assert (recorder.only.method, recorder.only.target) == ("POST", "/v1/orders")
    assert recorder.only.headers["content-type"] == "application/json"
    assert recorder.only.json == {
        "amount": 2_100,
        "currency": "BTC",
        "externalUniqId": OURS,
        "label": "A license of Editor",
        "metadata": {"source": "keysat"},
        "customerData": {"email": "ü@example.com"},
        "redirectUrl": "https://shop.example/?a=1&b",
    }
    assert (created.provider_invoice_id, created.checkout_url) == (ORDER, ANSWER["checkoutUrl"])


def test_create_leaves_out_what_is_not_known(zaprite, recorder):
    zaprite.create_invoice(wanted(Money(1, "BTC")))
    assert set(recorder.only.json) == {"amount", "currency", "externalUniqId", "label", "metadata"}


@pytest.mark.parametrize(
    "price", [Money(1, "BTC"), Money(21_000_000 * 10**8, "BTC"), Money(1_999, "USD"), Money(1, "EUR")], ids=str
)
def test_amounts_are_sent_as_integers_in_the_smallest_unit(zaprite, recorder, price):
    zaprite.create_invoice(wanted(price))
    assert (recorder.only.json["amount"], recorder.only.json["currency"]) == (price.amount, price.currency)


def test_checking_credentials_lists_one_order(zaprite, recorder):
    recorder.answer = (200, {"anything": []})
    zaprite.check_credentials()
    assert (recorder.only.method, recorder.only.target) == ("GET", "/v1/orders?limit=1")


def all_calls(provider):
    return (
        lambda: provider.create_invoice(wanted(Money(1, "BTC"))),
        lambda: provider.get_invoice(ORDER),
        lambda: provider.find_invoices(OURS),
        provider.check_credentials,
    )


def test_every_call_carries_the_key_and_asks_for_plain_json(zaprite, recorder):
    for call in all_calls(zaprite):
        call()
    assert len(recorder.requests) == 4
    for request in recorder.requests:
        assert request.headers["authorization"] == "Bearer key-1"
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("odd", ["a/b", "a b", "a?b=c", "a#b", "a%2Fb", "ü€", "a&b", "../../other", "a;b", "a\\b"])
def test_ids_with_odd_characters_stay_one_part_of_the_path(zaprite, recorder, odd):
    recorder.answer = (200, answer(id=odd))
    zaprite.get_invoice(odd)
    assert [unquote(part) for part in recorder.only.target.split("/")] == ["", "v1", "orders", odd]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, CredentialsRejected),
        (403, CredentialsRejected),
        (400, RemoteRefused),
        (429, RemoteUnavailable),
        (503, RemoteUnavailable),
    ],
)
def test_a_refusal_is_raised_by_every_call(zaprite, recorder, status, error):
    recorder.answer = (status, {"code": "x", "message": "y"})
    for call in all_calls(zaprite):
        with pytest.raises(error):
            call()


def test_zaprite_unknown_order(zaprite, recorder):
    """Neither the order's id nor our id is found."""
    recorder.answer = (404, {"code": "NOT_FOUND", "message": "y"})
    with pytest.raises(RemoteNotFound):
        zaprite.get_invoice(ORDER)
    assert zaprite.find_invoices(OURS) == []


# How it reads an order.


@pytest.mark.parametrize(
    ("provider_status", "status", "exception"),
    [
        ("PENDING", ProviderStatus.PENDING, NONE),
        ("UNDERPAID", ProviderStatus.PENDING, PARTIAL),
        ("PROCESSING", ProviderStatus.PROCESSING, NONE),
        ("PAID", ProviderStatus.SETTLED, NONE),
        ("COMPLETE", ProviderStatus.SETTLED, NONE),
        ("OVERPAID", ProviderStatus.SETTLED, OVER),
        ("EXPIRED", ProviderStatus.EXPIRED, NONE),
        ("INVALID", ProviderStatus.INVALID, NONE),
        ("CANCELLED", ProviderStatus.INVALID, NONE),
        ("REFUNDED", ProviderStatus.REFUNDED, NONE),
    ],
)
def test_every_known_status_has_its_reading(read, provider_status, status, exception):
    snapshot = read(status=provider_status)
    assert (snapshot.status, snapshot.exception, snapshot.provider_status) == (status, exception, provider_status)
    assert (snapshot.charged, snapshot.order_id) == (Money(2_100, "BTC"), OURS)


@pytest.mark.parametrize(
    "status",
    [
        ...,
        None,
        "",
        "paid",
        "Paid",
        " PAID",
        "SETTLED",
        "CANCELED",
        "ABANDONED",
        3,
        True,
        ["PAID"],
        {"PAID": 1},
        "x" * 999,
    ],
    ids=lambda status: str(status)[:20],
)
def test_a_status_this_version_does_not_know_is_unknown_and_never_invalid(read, status):
    snapshot = read(status=status)
    assert (snapshot.status, snapshot.exception) == (ProviderStatus.UNKNOWN, NONE)
    assert 0 < len(snapshot.provider_status) <= 60
    assert snapshot.provider_status.isprintable()


def test_zaprite_paid_amount(read):
    """It is the sum of the transactions in the order's currency."""
    paid = read(
        status="OVERPAID", currency="EUR", totalAmount=1_999, transactions=received(1_000, 1_500, currency="EUR")
    )
    assert (paid.charged, paid.paid) == (Money(1_999, "EUR"), Money(2_500, "EUR"))
    assert read(status="UNDERPAID", transactions=received(2_000)).paid == Money(2_000, "BTC")
    assert read(transactions=[]).paid == Money(0, "BTC")
    assert read(transactions=[{"amountInOrderCurrency": 5}]).paid == Money(5, "BTC")


@pytest.mark.parametrize(
    "transactions",
    [
        ...,
        None,
        {},
        "text",
        5,
        [None],
        ["text"],
        [[]],
        [{}],
        received(None),
        received("5"),
        received(1.5),
        received([]),
        received(-1),
        received(10**30),
        received(5, currency="EUR"),
        received(5, currency=None),
        [*received(5), *received(5, currency="USD")],
    ],
    ids=str,
)
@pytest.mark.parametrize("status", ["PENDING", "PAID", "EXPIRED"])
def test_zaprite_unreadable_transactions(read, transactions, status):
    """Unreadable transactions give no amount and change no status."""
    snapshot = read(status=status, transactions=transactions)
    assert snapshot.paid is None
    assert (snapshot.status, snapshot.exception) == (read(status=status).status, NONE)


@pytest.mark.parametrize("status", ["PAID", "COMPLETE", "OVERPAID"])
def test_zaprite_paid_order_with_less(read, status):
    """A merchant can mark an order as paid that was paid elsewhere. The status decides."""
    snapshot = read(status=status, transactions=received(2_000))
    assert (snapshot.status, snapshot.paid, snapshot.charged) == (ProviderStatus.SETTLED, None, Money(2_100, "BTC"))


@pytest.mark.parametrize("amount", [1, 2_099, 2_100, 5_000])
def test_money_on_an_expired_order_is_reviewed(read, amount):
    snapshot = read(status="EXPIRED", transactions=received(amount))
    assert (snapshot.status, snapshot.exception) == (ProviderStatus.EXPIRED, PARTIAL)
    assert snapshot.paid == Money(amount, "BTC")


@pytest.mark.parametrize("amounts", [{"totalAmount": ..., "amount": 5}, {"totalAmount": None, "amount": 5}])
def test_the_total_may_be_called_amount(read, amounts):
    assert read(**amounts).charged == Money(5, "BTC")


@pytest.mark.parametrize("total", [..., None])
def test_missing_amounts_are_none(read, total):
    snapshot = read(status="PAID", totalAmount=total, transactions=received(2_100))
    assert (snapshot.status, snapshot.charged, snapshot.paid) == (ProviderStatus.SETTLED, None, None)


@pytest.mark.parametrize("order_id", [..., None, 7, [], {}])
def test_missing_order_id_is_none(read, order_id):
    assert read(externalUniqId=order_id).order_id is None


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(answer(id="another-order"), id="another order"),
        pytest.param(answer(id=ORDER.lower()), id="another case"),
        pytest.param(answer(id=OURS), id="our id"),
        pytest.param(answer(id=None), id="null id"),
        pytest.param(answer(id=7), id="number as id"),
        pytest.param(answer(id=...), id="no id"),
        pytest.param([ANSWER], id="list"),
        pytest.param({"data": ANSWER}, id="wrapped"),
        pytest.param({}, id="empty object"),
        pytest.param(None, id="null"),
        pytest.param("text", id="text"),
        *(
            pytest.param(answer(totalAmount=amount), id=f"amount {amount!r:.20}")
            for amount in ("2100", "", 21.5, -1, True, False, [], {}, 10**30)
        ),
        *(
            pytest.param(answer(currency=currency), id=f"currency {currency!r}")
            for currency in (..., None, "", "XAU", "btc", ["BTC"], 5)
        ),
        pytest.param(json.dumps(ANSWER).replace("2100", "NaN").encode(), id="NaN"),
        pytest.param(json.dumps(ANSWER).replace("2100", "2100.0").encode(), id="with a point"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>It works!</html>", id="HTML"),
    ],
)
def test_an_order_of_the_wrong_shape_is_an_invalid_answer(zaprite, recorder, wrong):
    recorder.answer = (200, wrong)
    with pytest.raises(RemoteResponseInvalid, match=r"\.$"):
        zaprite.get_invoice(ORDER)


@pytest.mark.parametrize(
    "wrong", [answer(id=...), answer(checkoutUrl=...), answer(id=""), answer(checkoutUrl=None), [ANSWER], None]
)
def test_a_created_order_without_id_or_checkout_is_an_invalid_answer(zaprite, recorder, wrong):
    recorder.answer = (200, wrong)
    for call in (lambda: zaprite.create_invoice(wanted(Money(1, "BTC"))), lambda: zaprite.find_invoices(OURS)):
        with pytest.raises(RemoteResponseInvalid):
            call()


@pytest.mark.parametrize("theirs", [..., None, "another", OURS.upper()])
def test_an_order_that_does_not_say_it_is_ours_is_not_taken_for_it(zaprite, recorder, theirs):
    recorder.answer = (200, answer(externalUniqId=theirs))
    with pytest.raises(RemoteResponseInvalid, match=f"another order than ours of id {OURS}"):
        zaprite.find_invoices(OURS)


# Webhooks.


def parsed(body, token=SECRET, provider=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (provider or adapter("http://127.0.0.1:9")).parse_webhook(Webhook({}, body, token))


@pytest.mark.parametrize("field", ["event", "eventType", "type", "name"])
def test_the_type_is_found_in_each_of_its_places(field):
    found = parsed({field: "order.change", "data": {"id": ORDER, "status": "PAID", "externalUniqId": OURS}})
    assert (found.kind, found.provider_invoice_id, found.order_id) == ("order.change", ORDER, OURS)


@pytest.mark.parametrize(
    "place",
    [
        {"data": {"id": ORDER}},
        {"data": {"object": {"id": ORDER}}},
        {"orderId": ORDER},
        {"id": ORDER},
        {"id": "event-1", "orderId": ORDER},
        {"id": "event-1", "data": {"id": ORDER}},
        {"id": "event-1", "data": {"object": {"id": ORDER}}},
        {"id": ORDER, "data": None},
        {"id": ORDER, "data": [1], "orderId": 7},
        {"id": ORDER, "data": {"id": 7, "object": "text"}},
    ],
    ids=str,
)
def test_the_order_is_found_in_each_of_its_places(place):
    assert parsed({"event": "order.change", **place}).provider_invoice_id == ORDER


@pytest.mark.parametrize("place", [{"data": {"externalUniqId": OURS}}, {"data": {"object": {"externalUniqId": OURS}}}])
def test_our_id_is_found_where_the_order_is(place):
    assert parsed({"event": "order.change", **place}).order_id == OURS


def test_an_event_without_a_type_is_a_hint_all_the_same():
    assert parsed({"data": {"id": ORDER}}).kind == "unknown"


def test_an_event_without_an_order_asks_for_nothing():
    found = parsed({"event": "contact.change", "data": {}})
    assert (found.kind, found.provider_invoice_id, found.order_id) == ("contact.change", None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        [],
        None,
        "order.change",
        [{"event": "order.change"}],
        {"event": ["order.change"], "data": {"id": ["x"]}},
        {"event": "", "data": {"id": ""}},
        {"event": "a\x00b", "id": "a\nb"},
        {"event": "x" * 201, "id": "x" * 201},
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_is_no_event_is_malformed(body):
    with pytest.raises(WebhookMalformed, match=r"\.$"):
        parsed(body)


def test_zaprite_delivery_for_each_state():
    """Each state is a separate delivery, and a copy is not."""
    first, copy, paid = (
        parsed({"event": "order.change", "data": {"id": ORDER, "status": status}})
        for status in ("PROCESSING", "PROCESSING", "PAID")
    )
    assert first == copy
    assert paid.delivery_id != first.delivery_id


def test_an_id_beside_the_order_never_hides_another_state():
    """Were it the webhook's own, and not the event's, it would be the same in each."""
    states = [parsed({"id": "hook-1", "data": {"id": ORDER, "status": status}}) for status in ("UNDERPAID", "PAID")]
    assert states[0].delivery_id != states[1].delivery_id


@pytest.mark.parametrize("secret", ["", "x", "x" * (MIN_SECRET_BYTES - 1)])
def test_without_a_long_secret_no_webhook_is_believed(secret):
    with pytest.raises(WebhookRejected, match="at least 24 bytes"):
        parsed({"event": "order.change"}, secret, adapter("http://127.0.0.1:9", secret))


def test_an_account_without_a_webhook_secret_believes_no_webhook():
    provider = Zaprite("http://127.0.0.1:9", "-", {"api_key": "k"}, deadline=1, max_bytes=1_000)
    with pytest.raises(WebhookRejected):
        parsed({"event": "order.change"}, "", provider)


def test_the_shortest_allowed_secret_works():
    secret = "x" * MIN_SECRET_BYTES
    assert parsed({"id": ORDER}, secret, adapter("http://127.0.0.1:9", secret)).provider_invoice_id == ORDER


def test_no_sentence_contains_the_token():
    with pytest.raises(WebhookRejected) as caught:
        parsed({"id": ORDER}, "a-guess-at-the-token-of-24-bytes")
    assert SECRET not in str(caught.value)
    assert "a-guess" not in str(caught.value)


# What it can't do.


def test_a_webhook_is_registered_by_hand(zaprite, recorder):
    with pytest.raises(
        NotSupported, match=r"can't register a webhook by itself; enter the webhook's URL .* by hand\.$"
    ):
        zaprite.connect_webhook("https://shop.example/v1/zaprite/webhook/1/token", "token")
    assert recorder.requests == []


def test_paying_lightning_invoices_is_not_supported(zaprite, recorder):
    with pytest.raises(NotSupported, match=r"^a zaprite provider can't pay a Lightning invoice\.$"):
        zaprite.pay_lightning_invoice("lnbc1", 1_000)
    with pytest.raises(NotSupported, match=r"^a zaprite provider can't look up a Lightning payment\.$"):
        zaprite.find_lightning_payment("00" * 32)
    assert recorder.requests == []


RETURN = "https://license.example.com/p/secret"


def test_buyers_address_is_in_no_error_though_the_provider_repeats_it(recorder):
    """The error is logged and stored with the account."""
    recorder.answer = (422, {"message": f"buyer.one@example.com is no address, nor is {RETURN}"})
    wanted = NewInvoice(OURS, Money(2_100, "BTC"), "A license of Editor", "buyer.one@example.com", RETURN)
    with pytest.raises(RemoteRefused, match="redacted") as refusal:
        adapter(recorder.url).create_invoice(wanted)
    assert "buyer.one" not in str(refusal.value)
    assert "secret" not in str(refusal.value)
