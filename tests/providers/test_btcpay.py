"""The BTCPay adapter's requests, validated against BTCPay's own API description, and its reading of odd responses."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from keysat.core.errors import (
    CredentialsRejected,
    InvalidInput,
    NotTheProvider,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import NewInvoice, ProviderStatus, Webhook
from keysat.providers.btcpay.adapter import BTCPay
from keysat.providers.lightning import LightningPayment, PaymentState
from keysat.providers.refusals import MIN_SECRET_BYTES, WebhookRejected
from tests.btcpay_openapi import _operation, request_validator, validator, webhook_validator
from tests.providers.servers import raw_server, read_request

STORE, INVOICE, SECRET = "store-1", "Kz4fTqQgEhjWbTzdGEqLpD", "a-secret-of-at-least-24-bytes"
DEADLINE = 5
HASH = "ab" * 32
ANSWER = {
    "id": INVOICE,
    "storeId": STORE,
    "amount": "0.00002100",
    "paidAmount": "0.00000000",
    "currency": "BTC",
    "type": "Standard",
    "checkoutLink": f"https://pay.example/i/{INVOICE}",
    "createdTime": 1_800_000_000,
    "expirationTime": 1_800_000_900,
    "monitoringExpiration": 1_800_087_300,
    "status": "New",
    "additionalStatus": "None",
    "metadata": {"orderId": "order-1"},
}
PAYMENT = {"id": "7", "status": "Complete", "BOLT11": "lnbc1", "paymentHash": HASH, "feeAmount": "1234"}


def adapter(url, store=STORE, secret=SECRET):
    credentials = {"api_key": "key-1", "webhook_secret": secret}
    return BTCPay(url, store, credentials, deadline=DEADLINE, max_bytes=100_000)


def answer(**changes):
    return {**ANSWER, **changes}


def without(field):
    return {name: value for name, value in ANSWER.items() if name != field}


def wanted(price, **more):
    return NewInvoice("order-1", price, "A license of Editor", **more)


def known_call(request):
    """The request's operation in BTCPay's description, its query parameters being ones that it knows."""
    operation = _operation(request.method, request.path)
    parameters = {parameter["name"] for parameter in operation.get("parameters", []) if parameter.get("in") == "query"}
    assert set(request.query) <= parameters
    return operation["operationId"]


@pytest.fixture
def btcpay(recorder):
    recorder.answer = (200, ANSWER)
    return adapter(recorder.url)


def test_the_answer_these_tests_give_is_one_of_btcpays():
    validator("InvoiceData").validate(ANSWER)
    validator("LightningPaymentData").validate(PAYMENT)


# What it sends.


@pytest.mark.parametrize(
    ("expires", "end"),
    [(1_795_788_300, datetime(2026, 11, 27, 14, 5, tzinfo=UTC)), (None, None), ("soon", None), (10**18, None)],
)
def test_end_of_the_time_to_pay(btcpay, recorder, expires, end):
    recorder.answer = (200, answer(expirationTime=expires))
    assert btcpay.get_invoice(INVOICE).expires_at == end


@pytest.mark.parametrize(
    "more", [{}, {"buyer_email": "buyer@example.com"}, {"redirect_url": "https://shop.example/thanks"}]
)
def test_create_is_a_request_of_btcpays_api(btcpay, recorder, more):
    created = btcpay.create_invoice(wanted(Money(2_100, "BTC"), **more))
    request = recorder.only
    assert known_call(request) == "Invoices_CreateInvoice"
    assert (request.method, request.target) == ("POST", f"/api/v1/stores/{STORE}/invoices")
    request_validator("POST", request.path).validate(request.json)
    assert request.headers["content-type"] == "application/json"
    assert (created.provider_invoice_id, created.checkout_url) == (INVOICE, ANSWER["checkoutLink"])


def test_create_sends_order_buyer_and_the_way_back(btcpay, recorder):
    price = Money(2_100, "BTC")
    btcpay.create_invoice(wanted(price, buyer_email="ü@example.com", redirect_url="https://shop.example/?a=1&b"))
    assert recorder.only.json == {
        "amount": "0.00002100",
        "currency": "BTC",
        "metadata": {
            "orderId": "order-1",
            "source": "keysat",
            "itemDesc": "A license of Editor",
            "buyerEmail": "ü@example.com",
        },
        "checkout": {"redirectURL": "https://shop.example/?a=1&b", "monitoringMinutes": 30 * 24 * 60},
    }


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        (Money(1, "BTC"), "0.00000001"),
        (Money(10, "BTC"), "0.00000010"),
        (Money(0, "BTC"), "0.00000000"),
        (Money(100_000_000, "BTC"), "1.00000000"),
        (Money(21_000_000 * 10**8, "BTC"), "21000000.00000000"),
        (Money(1, "USD"), "0.01"),
        (Money(1_999, "EUR"), "19.99"),
        (Money(100_000_000, "EUR"), "1000000.00"),
    ],
    ids=str,
)
def test_amounts_are_sent_as_exact_decimal_strings(btcpay, recorder, price, amount):
    btcpay.create_invoice(wanted(price))
    assert recorder.only.json["amount"] == amount
    assert recorder.only.json["currency"] == price.currency
    request_validator("POST", recorder.only.path).validate(recorder.only.json)


def test_get_is_a_request_of_btcpays_api(btcpay, recorder):
    """The description names the call without its store. All servers also know it with the store."""
    btcpay.get_invoice(INVOICE)
    request = recorder.only
    assert (request.method, request.body) == ("GET", b"")
    assert request.target == f"/api/v1/stores/{STORE}/invoices/{INVOICE}"
    assert known_call(replace(request, target=request.target.replace(f"/stores/{STORE}", ""))) == "Invoices_GetInvoice"


def test_checking_credentials_lists_one_invoice(btcpay, recorder):
    recorder.answer = (200, [])
    btcpay.check_credentials()
    assert known_call(recorder.only) == "Invoices_GetInvoices"
    assert recorder.only.query == {"take": ["1"]}


def test_paying_is_a_request_of_btcpays_api(btcpay, recorder):
    recorder.answer = (200, PAYMENT)
    btcpay.pay_lightning_invoice("lnbc1", 21_999)
    assert known_call(recorder.only) == "StoreLightningNodeApi_PayInvoice"
    request_validator("POST", recorder.only.path).validate(recorder.only.json)
    assert recorder.only.json == {"BOLT11": "lnbc1", "maxFeeFlat": "21"}


def test_looking_a_payment_up_is_a_request_of_btcpays_api(btcpay, recorder):
    recorder.answer = (200, PAYMENT)
    btcpay.find_lightning_payment(HASH)
    assert known_call(recorder.only) == "StoreLightningNodeApi_GetPayment"
    assert recorder.only.target == f"/api/v1/stores/{STORE}/lightning/BTC/payments/{HASH}"


def all_calls(provider):
    return (
        lambda: provider.create_invoice(wanted(Money(1, "BTC"))),
        lambda: provider.get_invoice(INVOICE),
        provider.check_credentials,
        lambda: provider.pay_lightning_invoice("lnbc1", 1_000),
        lambda: provider.find_lightning_payment(HASH),
    )


def test_every_call_carries_the_key_and_asks_for_plain_json(btcpay, recorder):
    for call in all_calls(btcpay):
        call()
    assert len(recorder.requests) == 5
    for request in recorder.requests:
        assert request.headers["authorization"] == "token key-1"
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"


ODD = ["a/b", "a b", "a?b=c", "a#b", "a%2Fb", "ü€", "a&b", "../../other", "a;b", "a\\b", "a+b"]


@pytest.mark.parametrize("odd", ODD)
def test_ids_with_odd_characters_stay_one_part_of_the_path(recorder, odd):
    recorder.answer = (200, answer(id=odd, storeId=odd))
    provider = adapter(recorder.url, store=odd)
    provider.get_invoice(odd)
    for call in all_calls(provider)[3:]:
        call()
    provider.find_lightning_payment(odd)
    get, pay, find, find_odd = recorder.requests
    assert [unquote(part) for part in get.target.split("/")] == ["", "api", "v1", "stores", odd, "invoices", odd]
    lightning = ["", "api", "v1", "stores", odd, "lightning", "BTC"]
    assert [unquote(part) for part in pay.target.split("/")] == [*lightning, "invoices", "pay"]
    assert [unquote(part) for part in find.target.split("/")] == [*lightning, "payments", HASH]
    assert [unquote(part) for part in find_odd.target.split("/")] == [*lightning, "payments", odd]


# How it reads an invoice.


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(answer(id="another-invoice"), id="another invoice"),
        pytest.param(answer(id=INVOICE.lower()), id="another case"),
        pytest.param(answer(id=None), id="null id"),
        pytest.param(answer(id=7), id="number as id"),
        pytest.param(without("id"), id="no id"),
        pytest.param(answer(storeId="another-store"), id="another store"),
        pytest.param(answer(storeId=None), id="null store"),
        pytest.param([ANSWER], id="list"),
        pytest.param([], id="empty list"),
        pytest.param({}, id="empty object"),
        pytest.param(None, id="null"),
        pytest.param("text", id="text"),
        pytest.param(5, id="number"),
        *(
            pytest.param(answer(**{field: amount}), id=f"{field} {amount!r}")
            for field in ("amount", "paidAmount")
            for amount in ("a lot", "", "NaN", "sNaN", "Infinity", "-0.00000001", "1e30", True, False, [], {}, 10**30)
        ),
        pytest.param(answer(currency=None), id="null currency"),
        pytest.param(answer(currency=""), id="empty currency"),
        pytest.param(answer(currency="XAU"), id="unknown currency"),
        pytest.param(answer(currency=["BTC"]), id="list as currency"),
        pytest.param(without("currency"), id="no currency"),
        pytest.param(json.dumps(ANSWER).replace('"0.00002100"', "NaN").encode(), id="NaN"),
        pytest.param(json.dumps(ANSWER).replace('"0.00002100"', "-Infinity").encode(), id="-Infinity"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>It works!</html>", id="HTML"),
    ],
)
def test_an_invoice_of_the_wrong_shape_is_an_invalid_answer(btcpay, recorder, wrong):
    recorder.answer = (200, wrong)
    with pytest.raises(RemoteResponseInvalid, match=r"\.$"):
        btcpay.get_invoice(INVOICE)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Paid"},
        {"status": "settled"},
        {"status": ""},
        {"status": None},
        {"status": 3},
        {"status": True},
        {"status": ["Settled"]},
        {"status": {"Settled": 1}},
        {"status": "Settled", "additionalStatus": "Refunded"},
        {"status": "Settled", "additionalStatus": "none"},
        {"status": "Settled", "additionalStatus": None},
        {"status": "Settled", "additionalStatus": 0},
        {"status": "Settled", "additionalStatus": []},
        {"status": "x" * 10_000},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_status_this_version_does_not_know_is_unknown(btcpay, recorder, changes):
    recorder.answer = (200, answer(paidAmount="0.00002100", **changes))
    snapshot = btcpay.get_invoice(INVOICE)
    assert snapshot.status is ProviderStatus.UNKNOWN
    assert snapshot.charged == snapshot.paid == Money(2_100, "BTC")
    assert 0 < len(snapshot.provider_status) <= 60
    assert snapshot.provider_status.startswith(str(changes["status"])[:50])


def test_a_missing_status_is_unknown(btcpay, recorder):
    recorder.answer = (200, without("status"))
    assert btcpay.get_invoice(INVOICE).status is ProviderStatus.UNKNOWN


def test_btcpay_older_server(btcpay, recorder):
    """A response without additional status and store is valid."""
    older = {name: value for name, value in ANSWER.items() if name not in {"additionalStatus", "storeId"}}
    recorder.answer = (200, {**older, "status": "Settled"})
    snapshot = btcpay.get_invoice(INVOICE)
    assert (snapshot.status, snapshot.exception) == (ProviderStatus.SETTLED, PaymentException.NONE)


@pytest.mark.parametrize(
    ("status", "additional"),
    [
        (status, additional)
        for status in ("New", "Processing", "Settled", "Expired", "Invalid")
        for additional in ("None", "PaidLate", "PaidPartial", "Marked", "Invalid", "PaidOver")
        # Those two also read the payments: test_contract.py.
        if (status, additional) not in {("Expired", "PaidLate"), ("Expired", "PaidOver")}
    ],
)
def test_every_status_of_btcpays_api_is_known(btcpay, recorder, status, additional):
    validator("InvoiceData").validate(answer(status=status, additionalStatus=additional))
    recorder.answer = (200, answer(status=status, additionalStatus=additional))
    snapshot = btcpay.get_invoice(INVOICE)
    assert snapshot.status is not ProviderStatus.UNKNOWN
    assert snapshot.provider_status == f"{status}/{additional}"


def test_the_statuses_above_are_all_of_btcpays_api():
    for field, value in (("status", "Paid"), ("additionalStatus", "Refunded")):
        assert not validator("InvoiceData").is_valid(answer(**{field: value}))


def test_another_currency_than_the_one_charged_is_reported_as_it_is(btcpay, recorder):
    recorder.answer = (200, answer(currency="EUR", amount="19.99", paidAmount="0.005", status="Settled"))
    snapshot = btcpay.get_invoice(INVOICE)
    assert (snapshot.charged, snapshot.paid) == (Money(1_999, "EUR"), Money(1, "EUR"))


@pytest.mark.parametrize("field", ["amount", "paidAmount"])
@pytest.mark.parametrize("missing", [True, False])
def test_missing_amount_is_none(btcpay, recorder, field, missing):
    recorder.answer = (200, without(field) if missing else answer(**{field: None}))
    snapshot = btcpay.get_invoice(INVOICE)
    assert (snapshot.charged if field == "amount" else snapshot.paid) is None


@pytest.mark.parametrize("metadata", [None, [], "text", {}, {"orderId": 7}, {"orderId": None}])
def test_missing_order_id_is_none(btcpay, recorder, metadata):
    recorder.answer = (200, answer(metadata=metadata))
    assert btcpay.get_invoice(INVOICE).order_id is None


@pytest.mark.parametrize(
    "wrong", [without("id"), without("checkoutLink"), answer(id=""), answer(checkoutLink=None), [ANSWER], None]
)
def test_a_created_invoice_without_id_or_checkout_is_an_invalid_answer(btcpay, recorder, wrong):
    recorder.answer = (200, wrong)
    with pytest.raises(RemoteResponseInvalid):
        btcpay.create_invoice(wanted(Money(1, "BTC")))


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsRejected), (404, RemoteNotFound), (422, RemoteRefused), (503, RemoteUnavailable)],
)
def test_a_refusal_is_raised_by_create_get_and_check(btcpay, recorder, status, error):
    recorder.answer = (status, {"code": "x", "message": "y"})
    for call in all_calls(btcpay)[:3]:
        with pytest.raises(error):
            call()


# Webhooks.


def signed(body, secret=SECRET):
    return {"BTCPay-Sig": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def event(**changes):
    whole = {
        "deliveryId": "delivery-2",
        "webhookId": "hook-1",
        "originalDeliveryId": "delivery-1",
        "isRedelivery": False,
        "type": "InvoiceExpired",
        "timestamp": 1_800_000_000,
        "storeId": STORE,
        "invoiceId": INVOICE,
        "metadata": {},
        "partiallyPaid": True,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def parsed(whole, provider=None):
    body = json.dumps(whole).encode()
    return (provider or adapter("http://127.0.0.1:9")).parse_webhook(Webhook(signed(body), body))


def test_a_webhook_as_btcpay_sends_it_is_read():
    webhook_validator("InvoiceExpired").validate(event())
    found = parsed(event())
    assert (found.delivery_id, found.kind, found.provider_invoice_id) == ("delivery-2", "InvoiceExpired", INVOICE)


@pytest.mark.parametrize("name", ["BTCPay-Sig", "btcpay-sig", "BTCPAY-SIG", "Btcpay-Sig"])
def test_the_signatures_header_is_found_in_any_case(name):
    body = json.dumps(event()).encode()
    headers = {"Host": "x", name: signed(body)["BTCPay-Sig"]}
    assert adapter("http://127.0.0.1:9").parse_webhook(Webhook(headers, body)).provider_invoice_id == INVOICE


@pytest.mark.parametrize("changes", [{"invoiceId": "__test__inv"}, {"invoiceId": None}, {"invoiceId": ...}])
def test_a_test_delivery_names_no_invoice(changes):
    assert parsed(event(**changes)).provider_invoice_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"deliveryId": ...},
        {"deliveryId": 7},
        {"type": ...},
        {"type": None},
        {"invoiceId": 7},
        {"invoiceId": [INVOICE]},
        {"storeId": "another-store"},
        {"storeId": 7},
        {"storeId": []},
    ],
    ids=str,
)
def test_a_signed_event_of_the_wrong_shape_is_rejected(changes):
    with pytest.raises(WebhookRejected, match=r"\.$"):
        parsed(event(**changes))


def test_the_signature_has_to_be_in_btcpays_form():
    body = json.dumps(event()).encode()
    right = signed(body)["BTCPay-Sig"]
    for wrong in (right.removeprefix("sha256="), right.upper(), right.replace("sha256", "sha1"), f" {right}"):
        with pytest.raises(WebhookRejected):
            adapter("http://127.0.0.1:9").parse_webhook(Webhook({"BTCPay-Sig": wrong}, body))


@pytest.mark.parametrize("secret", ["", "x", "x" * (MIN_SECRET_BYTES - 1)])
def test_without_a_long_secret_no_webhook_is_believed(secret):
    provider = adapter("http://127.0.0.1:9", secret=secret)
    body = json.dumps(event()).encode()
    with pytest.raises(WebhookRejected, match="at least 24 bytes"):
        provider.parse_webhook(Webhook(signed(body, secret), body))


def test_an_account_without_a_webhook_secret_believes_no_webhook():
    provider = BTCPay("http://127.0.0.1:9", STORE, {"api_key": "k"}, deadline=DEADLINE, max_bytes=1_000)
    body = json.dumps(event()).encode()
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(Webhook(signed(body, ""), body))


def test_the_shortest_allowed_secret_works():
    secret = "x" * MIN_SECRET_BYTES
    body = json.dumps(event()).encode()
    found = adapter("http://127.0.0.1:9", secret=secret).parse_webhook(Webhook(signed(body, secret), body))
    assert found.provider_invoice_id == INVOICE


# Lightning: "failed" allows a second payment, so it has to be certain.

UNKNOWN = LightningPayment(None, PaymentState.UNKNOWN)


def test_a_completed_payment_is_paid_with_its_hash_and_fee(btcpay, recorder):
    recorder.answer = (200, PAYMENT)
    paid = LightningPayment(HASH, PaymentState.PAID, 1_234)
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == paid
    assert btcpay.find_lightning_payment(HASH) == paid


def test_a_payment_that_is_under_way_is_unknown(btcpay, recorder):
    for body in (PAYMENT, {**PAYMENT, "status": "Pending"}, {"status": "Unknown"}):
        recorder.answer = (202, body)
        assert btcpay.pay_lightning_invoice("lnbc1", 10_000).state is PaymentState.UNKNOWN


@pytest.mark.parametrize("status", ["Pending", "Unknown", "complete", "Paid", "", None, 1, [], {"Complete": 1}])
def test_a_payment_of_any_other_status_is_unknown(btcpay, recorder, status):
    recorder.answer = (200, {**PAYMENT, "status": status})
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000).state is PaymentState.UNKNOWN
    assert btcpay.find_lightning_payment(HASH).state is PaymentState.UNKNOWN


def test_a_payment_that_btcpay_calls_failed_is_failed(btcpay, recorder):
    recorder.answer = (200, {**PAYMENT, "status": "Failed", "feeAmount": None})
    failed = LightningPayment(HASH, PaymentState.FAILED)
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == failed
    assert btcpay.find_lightning_payment(HASH) == failed


def test_a_payment_that_found_no_route_is_failed(btcpay, recorder):
    recorder.answer = (400, {"code": "could-not-find-route", "message": "Impossible to find a route to the peer"})
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == LightningPayment(None, PaymentState.FAILED)


@pytest.mark.parametrize(
    "refusal",
    [
        (400, {"code": "generic-error", "message": "The operation has timed out."}),
        (400, {"code": None}),
        (400, {"code": ["could-not-find-route"]}),
        (400, [{"code": "could-not-find-route"}]),
        (400, b"<html>could-not-find-route</html>"),
        (409, {"code": "conflict"}),
        (418, b""),
    ],
    ids=str,
)
def test_a_payment_refused_for_another_reason_is_unknown(btcpay, recorder, refusal):
    """BTCPay reports `generic-error` for any exception of its Lightning client, also after the payment was sent."""
    recorder.answer = refusal
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == UNKNOWN


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 302])
def test_a_payment_without_a_clear_answer_is_unknown(btcpay, recorder, status):
    recorder.answer = (status, {"code": "x"})
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == UNKNOWN


@pytest.mark.parametrize("garbage", [b"", b"<html>", b"NaN", [], "Complete", 5, None, {}, [PAYMENT]])
def test_a_payment_answered_with_garbage_is_unknown(btcpay, recorder, garbage):
    recorder.answer = (200, garbage)
    assert btcpay.pay_lightning_invoice("lnbc1", 10_000) == UNKNOWN


@pytest.mark.parametrize(
    "fee",
    [
        *(None, 5, -1, "", "-5", "1.5", "a", [], True),
        "²",
        pytest.param("9" * 5_000, id="many digits"),
    ],
)
def test_a_fee_that_can_not_be_read_does_not_hide_that_it_was_paid(btcpay, recorder, fee):
    recorder.answer = (200, {**PAYMENT, "feeAmount": fee})
    paid = btcpay.pay_lightning_invoice("lnbc1", 10_000)
    assert (paid.state, paid.payment_hash, paid.fee_msat) == (PaymentState.PAID, HASH, None)


def test_a_fee_limit_below_one_satoshi_is_refused_and_nothing_is_sent(btcpay, recorder):
    """BTCPay's LND client takes a `maxFeeFlat` of 0 for none given and allows a fee as high as the amount."""
    with pytest.raises(InvalidInput, match="at least 1 sat"):
        btcpay.pay_lightning_invoice("lnbc1", 999)
    assert recorder.requests == []


@pytest.mark.slow
def test_a_payment_that_is_not_answered_in_time_is_unknown():
    with raw_server(lambda connection, server: (read_request(connection), connection.recv(1))) as server:
        assert adapter(server.url).pay_lightning_invoice("lnbc1", 10_000) == UNKNOWN
        assert server.accepted == 1  # it is never tried twice


def test_a_payment_whose_answer_is_cut_is_unknown():
    def cut(connection, server):
        read_request(connection)
        server.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")

    with raw_server(cut) as server:
        assert adapter(server.url).pay_lightning_invoice("lnbc1", 10_000) == UNKNOWN
        assert server.accepted == 1


@pytest.mark.parametrize(("status", "error"), [(401, CredentialsRejected), (403, CredentialsRejected)])
def test_a_payment_we_may_not_make_says_why(btcpay, recorder, status, error):
    recorder.answer = (status, {"code": "missing-permission", "message": "no"})
    with pytest.raises(error):
        btcpay.pay_lightning_invoice("lnbc1", 10_000)


def test_missing_payment_is_unknown_not_failed(btcpay, recorder):
    recorder.answer = (404, {"code": "payment-not-found", "message": "no"})
    assert btcpay.find_lightning_payment(HASH) == LightningPayment(HASH, PaymentState.UNKNOWN, not_found=True)


def test_looking_a_payment_up_at_a_broken_server_says_so(btcpay, recorder):
    recorder.answer = (503, {})
    with pytest.raises(RemoteUnavailable):
        btcpay.find_lightning_payment(HASH)


@pytest.mark.parametrize("payments", [{}, [1], [{"payments": 1}], [{"payments": [{}]}], "none"])
def test_list_of_payments_of_another_shape_is_no_answer(btcpay, recorder, payments):
    recorder.answer = (200, payments)
    with pytest.raises(RemoteResponseInvalid, match="list of payments"):
        btcpay._unconfirmed(INVOICE)


@pytest.mark.parametrize(("status", "unconfirmed"), [("Settled", False), ("Processing", True), ("Invalid", True)])
def test_payment_is_confirmed_only_when_btcpay_calls_it_settled(btcpay, recorder, status, unconfirmed):
    recorder.answer = (200, [{"payments": [{"status": "Settled"}, {"status": status}]}])
    assert btcpay._unconfirmed(INVOICE) is unconfirmed
    assert recorder.only.target == f"/api/v1/invoices/{INVOICE}/payment-methods"


RETURN = "https://license.example.com/p/secret"
REPEATED = {"path": "checkout.redirectURL", "message": f"{RETURN} is no address"}


def test_buyers_address_is_in_no_error_though_the_provider_repeats_it(recorder):
    """The error is logged and stored with the account."""
    recorder.answer = (
        422,
        [{"path": "metadata.buyerEmail", "message": "buyer.one@example.com is no address"}, REPEATED],
    )
    wanted = NewInvoice("order-1", Money(2_100, "BTC"), "A license of Editor", "buyer.one@example.com", RETURN)
    with pytest.raises(RemoteRefused, match="redacted") as refusal:
        adapter(recorder.url).create_invoice(wanted)
    assert "buyer.one" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("status", [404, 503])
def test_part_payment_that_btcpay_says_nothing_about_counts_as_unconfirmed(btcpay, recorder, status):
    recorder.answer = (status, {"code": "no", "message": "no"})
    assert btcpay._part_unconfirmed(INVOICE)


@pytest.mark.parametrize("status", [403, 404, 422])
def test_btcpay_payments_refused(btcpay, recorder, status):
    """If BTCPay refuses to list the payments, it is unknown whether they are confirmed."""
    recorder.answer = (status, {"code": "no", "message": "no"})
    assert btcpay._unconfirmed(INVOICE) is None


@pytest.mark.parametrize(
    "problem", [{"message": "Forbidden"}, {"code": 1020, "message": "no"}, [], [1], [{"path": "x"}]]
)
@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_refusal_in_another_shape_than_btcpays_is_not_its_word(btcpay, recorder, status, problem):
    recorder.answer = (status, problem)
    with pytest.raises(NotTheProvider):
        btcpay.get_invoice(INVOICE)
