"""BTCPay Server through its Greenfield API (v1).

Shapes and statuses follow BTCPay's own OpenAPI description of July 2026. Amounts are decimal strings in whole units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from keysat.errors import InvalidInput, RemoteAnswerInvalid, RemoteNotFound, RemoteRefused, RemoteUnavailable
from keysat.http import Answer, HttpClient, printable
from keysat.models.invoice import PaymentException
from keysat.money import Money, parse_decimal
from keysat.providers.base import (
    MIN_SECRET_BYTES,
    CreatedInvoice,
    FoundInvoice,
    InvoiceSnapshot,
    LightningPayment,
    NewInvoice,
    NoWebhookSecret,
    PaymentState,
    Provider,
    ProviderEvent,
    ProviderStatus,
    Webhook,
    WebhookRejected,
)
from keysat.providers.signed_events import read_event, require_signature

_MAX_SAID = 60
_MOST_FOUND = 20
_MSAT_PER_SAT = 1000

_STATUSES = {
    "New": ProviderStatus.PENDING,
    "Processing": ProviderStatus.PROCESSING,
    "Settled": ProviderStatus.SETTLED,
    "Expired": ProviderStatus.EXPIRED,
    "Invalid": ProviderStatus.INVALID,
}
_EXCEPTIONS = {
    "None": PaymentException.NONE,
    "Invalid": PaymentException.NONE,
    "PaidLate": PaymentException.LATE,
    "PaidPartial": PaymentException.PARTIAL,
    "PaidOver": PaymentException.OVER,
    "Marked": PaymentException.MARKED,
}
# Of BTCPay's refusals this one alone says that nothing was sent; its `generic-error` may hide a payment under way.
_CERTAIN_REFUSALS = {"could-not-find-route"}
_PAYMENTS = {"Complete": PaymentState.PAID, "Failed": PaymentState.FAILED}


class BTCPay(Provider):
    """One BTCPay store. Credentials: `api_key`, and `webhook_secret` for webhooks."""

    kind: ClassVar[str] = "btcpay"

    def __init__(
        self, base_url: str, store_id: str, credentials: Mapping[str, str], *, deadline: float, max_bytes: int
    ) -> None:
        self._store_id = store_id
        self._webhook_secret = credentials.get("webhook_secret", "")
        self._store_path = f"/api/v1/stores/{quote(store_id, safe='')}"
        self._http = HttpClient(
            base_url,
            {"Authorization": f"token {credentials['api_key']}"},
            deadline=deadline,
            max_bytes=max_bytes,
            name="BTCPay",
        )

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        metadata = {"orderId": wanted.order_id, "source": "keysat", "itemDesc": wanted.description}
        if wanted.buyer_email:
            metadata["buyerEmail"] = wanted.buyer_email
        body: dict[str, Any] = {
            "amount": f"{wanted.price.to_decimal():f}",
            "currency": wanted.price.currency,
            "metadata": metadata,
        }
        if wanted.redirect_url:
            body["checkout"] = {"redirectURL": wanted.redirect_url}
        return _created(_mapping(self._http.request("POST", f"{self._store_path}/invoices", json_body=body)))

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        answer = self._http.get(f"{self._store_path}/invoices", {"orderId": order_id, "take": _MOST_FOUND})
        if not isinstance(answer.json, list):
            raise RemoteAnswerInvalid("BTCPay's list of invoices has another shape than it should.")
        found = [item for item in answer.json if isinstance(item, dict) and _order_id(item) == order_id]
        return [FoundInvoice(_created(item), self._snapshot(item, _text(item, "id"))) for item in found]

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        path = f"{self._store_path}/invoices/{quote(provider_invoice_id, safe='')}"
        snapshot = self._snapshot(_mapping(self._http.get(path)), provider_invoice_id)
        paid_late = snapshot.status is ProviderStatus.EXPIRED and snapshot.exception is PaymentException.LATE
        if paid_late and self._unconfirmed(provider_invoice_id):
            return replace(snapshot, status=ProviderStatus.PROCESSING, said=f"{snapshot.said}, unconfirmed")
        return snapshot

    def _unconfirmed(self, provider_invoice_id: str) -> bool:
        """Whether a payment still waits for its confirmations; BTCPay says `PaidLate` as soon as it is seen."""
        answer = self._http.get(f"/api/v1/invoices/{quote(provider_invoice_id, safe='')}/payment-methods")
        try:
            methods: list[Any] = answer.json if isinstance(answer.json, list) else [None]
            statuses = [payment["status"] for method in methods for payment in method["payments"]]
        except (TypeError, KeyError):
            raise RemoteAnswerInvalid("BTCPay's list of payments has another shape than it should.") from None
        return not statuses or any(status != "Settled" for status in statuses)

    def check_credentials(self) -> None:
        self._http.get(f"{self._store_path}/invoices", {"take": 1})

    def _snapshot(self, answer: dict[str, Any], wanted_id: str) -> InvoiceSnapshot:
        if _text(answer, "id") != wanted_id:
            raise RemoteAnswerInvalid(f"BTCPay answered about another invoice than {wanted_id}.")
        if answer.get("storeId", self._store_id) != self._store_id:
            raise RemoteAnswerInvalid(f"BTCPay answered about invoice {wanted_id} of another store.")
        status, exception = answer.get("status"), answer.get("additionalStatus", "None")
        known = isinstance(status, str) and isinstance(exception, str) and exception in _EXCEPTIONS
        return InvoiceSnapshot(
            provider_invoice_id=wanted_id,
            status=_STATUSES.get(str(status), ProviderStatus.UNKNOWN) if known else ProviderStatus.UNKNOWN,
            exception=_EXCEPTIONS.get(str(exception), PaymentException.NONE),
            charged=_money(answer, "amount"),
            paid=_money(answer, "paidAmount"),
            order_id=_order_id(answer),
            said=printable(f"{status}/{exception}"[:_MAX_SAID]),
        )

    def parse_webhook(self, webhook: Webhook) -> ProviderEvent:
        if len(self._webhook_secret.encode()) < MIN_SECRET_BYTES:
            raise NoWebhookSecret
        given = {name.lower(): value for name, value in webhook.headers.items()}.get("btcpay-sig", "")
        require_signature(self._webhook_secret, webhook.body, given, prefix="sha256=")
        event, fields = read_event(webhook.body)
        if fields.get("storeId", self._store_id) != self._store_id:
            raise WebhookRejected("the webhook is about another store.")
        is_test = event.provider_invoice_id is not None and event.provider_invoice_id.startswith("__test__")
        return replace(event, provider_invoice_id=None) if is_test else replace(event, order_id=_order_id(fields))

    def pay_lightning_invoice(self, bolt11: str, max_fee_msat: int) -> LightningPayment:
        if max_fee_msat < _MSAT_PER_SAT:  # BTCPay takes a limit of 0 for none
            raise InvalidInput(f"a fee limit of {max_fee_msat} msat can't be told to BTCPay; allow at least 1 sat.")
        body = {"BOLT11": bolt11, "maxFeeFlat": str(max_fee_msat // _MSAT_PER_SAT)}
        try:
            return _payment(
                self._http.request("POST", f"{self._store_path}/lightning/BTC/invoices/pay", json_body=body)
            )
        except (RemoteUnavailable, RemoteAnswerInvalid):
            return LightningPayment(None, PaymentState.UNKNOWN)  # it may have gone out: look it up, never pay again
        except RemoteRefused as error:
            certain = error.code in _CERTAIN_REFUSALS
            return LightningPayment(None, PaymentState.FAILED if certain else PaymentState.UNKNOWN)

    def find_lightning_payment(self, payment_hash: str) -> LightningPayment:
        path = f"{self._store_path}/lightning/BTC/payments/{quote(payment_hash, safe='')}"
        try:
            return _payment(self._http.get(path))
        except RemoteNotFound:
            return LightningPayment(payment_hash, PaymentState.UNKNOWN)


def _created(answer: dict[str, Any]) -> CreatedInvoice:
    return CreatedInvoice(_text(answer, "id"), _text(answer, "checkoutLink"))


def _order_id(fields: dict[str, Any]) -> str | None:
    metadata = fields.get("metadata")
    order_id = metadata.get("orderId") if isinstance(metadata, dict) else None
    return order_id if isinstance(order_id, str) else None


def _mapping(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.json, dict):
        raise RemoteAnswerInvalid("BTCPay sent JSON of another shape than an invoice.")
    return answer.json


def _text(answer: dict[str, Any], field: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise RemoteAnswerInvalid(f"BTCPay's answer has no usable {field!r}.")
    return value


def _money(answer: dict[str, Any], field: str) -> Money | None:
    if answer.get(field) is None:
        return None
    try:
        return parse_decimal(answer[field], _text(answer, "currency"))
    except InvalidInput as error:
        raise RemoteAnswerInvalid(f"BTCPay's {field!r} can't be read: {error}") from error


def _payment(answer: Answer) -> LightningPayment:
    body = answer.json if isinstance(answer.json, dict) else {}
    known = answer.status == 200
    state = _PAYMENTS.get(str(body.get("status")), PaymentState.UNKNOWN) if known else PaymentState.UNKNOWN
    fee, payment_hash = body.get("feeAmount"), body.get("paymentHash")
    return LightningPayment(
        payment_hash if isinstance(payment_hash, str) else None,
        state,
        int(fee) if isinstance(fee, str) and re.fullmatch("[0-9]{1,18}", fee) else None,
    )
