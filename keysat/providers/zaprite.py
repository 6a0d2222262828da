"""Zaprite through its orders API (v1): an order of Zaprite's is an invoice of ours.

What is known of it is what others' integrations and Zaprite's own examples show, so whatever is odd or missing in an
answer counts as unknown. Amounts are integers in the smallest unit, sats for BTC and cents for the others.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote

from keysat.errors import InvalidInput, RemoteAnswerInvalid, RemoteNotFound
from keysat.http import Answer, HttpClient, printable
from keysat.models.invoice import PaymentException
from keysat.money import Money
from keysat.providers.base import (
    MIN_SECRET_BYTES,
    CreatedInvoice,
    FoundInvoice,
    InvoiceSnapshot,
    NewInvoice,
    NotSupported,
    NoWebhookSecret,
    Provider,
    ProviderEvent,
    ProviderStatus,
    Webhook,
    WebhookMalformed,
    WebhookRejected,
)
from keysat.providers.signed_events import is_name

_MAX_SAID = 60

_STATUSES = {
    "PENDING": ProviderStatus.PENDING,
    "UNDERPAID": ProviderStatus.PENDING,  # the buyer may still pay the rest
    "PROCESSING": ProviderStatus.PROCESSING,
    "PAID": ProviderStatus.SETTLED,
    "COMPLETE": ProviderStatus.SETTLED,
    "OVERPAID": ProviderStatus.SETTLED,
    "EXPIRED": ProviderStatus.EXPIRED,
    "INVALID": ProviderStatus.INVALID,
    "CANCELLED": ProviderStatus.INVALID,
    "REFUNDED": ProviderStatus.REFUNDED,
}
_EXCEPTIONS = {"UNDERPAID": PaymentException.PARTIAL, "OVERPAID": PaymentException.OVER}


class Zaprite(Provider):
    """One organization at Zaprite. Credentials: `api_key`, and `webhook_secret`, the token in our webhook's URL."""

    kind: ClassVar[str] = "zaprite"
    has_stores: ClassVar[bool] = False
    token_in_url: ClassVar[bool] = True
    default_url: ClassVar[str | None] = "https://api.zaprite.com"

    def __init__(
        self,
        base_url: str,
        store_id: str,
        credentials: Mapping[str, str],
        *,
        deadline: float,
        max_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        del store_id  # the API key alone says whose orders these are
        self._webhook_secret = credentials.get("webhook_secret", "")
        self._http = HttpClient(
            base_url,
            {"Authorization": f"Bearer {credentials['api_key']}"},
            deadline=deadline,
            max_bytes=max_bytes,
            name="Zaprite",
            tls=tls,
        )

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        body: dict[str, Any] = {
            "amount": wanted.price.amount,
            "currency": wanted.price.currency,
            "externalUniqId": wanted.order_id,
            "label": wanted.description,
            "metadata": {"source": "keysat"},
        }
        if wanted.buyer_email:
            body["customerData"] = {"email": wanted.buyer_email}
        if wanted.redirect_url:
            body["redirectUrl"] = wanted.redirect_url
        private = [wanted.buyer_email or ""]
        return _created(_mapping(self._http.request("POST", "/v1/orders", json_body=body, private=private)))

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        """Of several orders with our id, which Zaprite allows, it tells one."""
        try:
            order = self._order(order_id)
        except RemoteNotFound:
            return []
        if order.get("externalUniqId") != order_id:
            raise RemoteAnswerInvalid(f"Zaprite answered about another order than ours of id {order_id}.")
        return [FoundInvoice(_created(order), _snapshot(order))]

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        snapshot = _snapshot(self._order(provider_invoice_id))
        # Zaprite finds an order by our id, too.
        if snapshot.provider_invoice_id != provider_invoice_id:
            raise RemoteAnswerInvalid(f"Zaprite answered about another order than {provider_invoice_id}.")
        return snapshot

    def check_credentials(self) -> None:
        self._http.get("/v1/orders", {"limit": 1})

    def connect_webhook(self, url: str, secret: str) -> NoReturn:
        del url, secret
        raise NotSupported(self.kind, "register a webhook by itself; enter the webhook's URL at Zaprite by hand")

    def parse_webhook(self, webhook: Webhook) -> ProviderEvent:
        secret = self._webhook_secret.encode()
        if len(secret) < MIN_SECRET_BYTES:
            raise NoWebhookSecret
        if not hmac.compare_digest(webhook.token.encode("utf-8", "surrogatepass"), secret):
            raise WebhookRejected("the token in the webhook's URL is not this account's.")
        return _event(webhook.body)

    def _order(self, order_id: str) -> dict[str, Any]:
        return _mapping(self._http.get(f"/v1/orders/{quote(order_id, safe='')}"))


def _created(order: dict[str, Any]) -> CreatedInvoice:
    return CreatedInvoice(_text(order, "id"), _text(order, "checkoutUrl"))


def _snapshot(order: dict[str, Any]) -> InvoiceSnapshot:
    said = str(order.get("status", "")) or "no status"
    status = _STATUSES.get(said, ProviderStatus.UNKNOWN)
    charged = _charged(order)
    paid = _paid(order, charged, status)
    exception = _EXCEPTIONS.get(said, PaymentException.NONE)
    if status is ProviderStatus.EXPIRED and paid is not None and paid.amount > 0:
        exception = PaymentException.PARTIAL  # be it all of the price: that it counts, Zaprite hasn't said
    order_id = order.get("externalUniqId")
    return InvoiceSnapshot(
        provider_invoice_id=_text(order, "id"),
        status=status,
        exception=exception,
        charged=charged,
        paid=paid,
        order_id=order_id if isinstance(order_id, str) else None,
        said=printable(said[:_MAX_SAID]),
    )


def _charged(order: dict[str, Any]) -> Money | None:
    amounts = (order.get("totalAmount"), order.get("amount"))
    amount = next((one for one in amounts if one is not None), None)
    try:
        return None if amount is None else Money(amount, _text(order, "currency"))
    except InvalidInput as error:
        raise RemoteAnswerInvalid(f"the amount of Zaprite's order can't be read: {error}") from error


def _paid(order: dict[str, Any], charged: Money | None, status: ProviderStatus) -> Money | None:
    """What came in by the order's transactions; None where they don't tell it in the order's own currency.

    None, too, where they fall short of a settled order's price: a merchant can say that it was paid elsewhere.
    """
    listed = order.get("transactions")
    if charged is None or not isinstance(listed, list):
        return None
    try:
        told = [
            one["amountInOrderCurrency"]
            for one in listed
            if one.get("orderCurrency", charged.currency) == charged.currency
        ]
        paid = Money(sum(told), charged.currency)
    except (AttributeError, KeyError, TypeError, InvalidInput):
        return None
    falls_short = status is ProviderStatus.SETTLED and paid.amount < charged.amount
    return None if len(told) < len(listed) or falls_short else paid


def _event(body: bytes) -> ProviderEvent:
    """Read a genuine body.

    Zaprite numbers no deliveries that we know of, and an id in the body may be that of the webhook, the same in each.
    So a body is its own id: what comes twice is one delivery, and a state that changed has another body. Should an
    order come back to a state in the very same words, the invoice's schedule finds out.

    Raises:
        WebhookMalformed: it has neither a type nor an order.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookMalformed from None
    outer = fields if isinstance(fields, dict) else {}
    data = _inner(outer, "data")
    inner = _inner(data, "object")
    kind = _name(outer.get(field) for field in ("event", "eventType", "type", "name"))
    invoice_id = _name((data.get("id"), inner.get("id"), outer.get("orderId"), outer.get("id")))
    if kind is None and invoice_id is None:
        raise WebhookMalformed
    order_id = _name(one.get("externalUniqId") for one in (data, inner, outer))
    return ProviderEvent(hashlib.sha256(body).hexdigest(), kind or "unknown", invoice_id, order_id)


def _inner(fields: dict[str, Any], field: str) -> dict[str, Any]:
    value = fields.get(field)
    return value if isinstance(value, dict) else {}


def _name(candidates: Iterable[Any]) -> str | None:
    return next((one for one in candidates if is_name(one)), None)


def _mapping(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.json, dict):
        raise RemoteAnswerInvalid("Zaprite sent JSON of another shape than an order.")
    return answer.json


def _text(order: dict[str, Any], field: str) -> str:
    value = order.get(field)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise RemoteAnswerInvalid(f"Zaprite's order has no usable {field!r}.")
    return value
