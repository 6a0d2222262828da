"""Parse Zaprite's orders and events into our types, or raise an error that describes the problem. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from keysat.core.errors import InvalidInput, RemoteResponseInvalid
from keysat.core.money import Money
from keysat.core.texts import printable
from keysat.models.invoice_status import PaymentException
from keysat.net.client import HttpResponse
from keysat.providers.base import (
    CreatedInvoice,
    FoundInvoice,
    InvoiceSnapshot,
    ProviderStatus,
    ReceivedEvent,
)
from keysat.providers.fields import iso_time, optional_object, optional_text, require_object, require_text
from keysat.providers.metadata import policy_of
from keysat.providers.refusals import WebhookMalformed
from keysat.providers.signed_events import is_name

_MAX_STATUS = 60
_CONFIRMED = "CONFIRMED"

_STATUSES = {
    "PENDING": ProviderStatus.PENDING,
    "UNDERPAID": ProviderStatus.PENDING,  # the buyer may still pay the remainder
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


def created_order(order: dict[str, Any]) -> CreatedInvoice:
    """Parse the id of an order, its checkout URL, and until when it can be paid."""
    return CreatedInvoice(_text(order, "id"), _text(order, "checkoutUrl"), iso_time(order.get("expiresAt")))


def snapshot_of(order: dict[str, Any]) -> InvoiceSnapshot:
    """Parse the state of an order. Raises `RemoteResponseInvalid`."""
    provider_status = str(order.get("status", "")) or "no status"
    status = _STATUSES.get(provider_status, ProviderStatus.UNKNOWN)
    charged = _charged(order)
    paid = _paid(order, charged, status)
    exception = _EXCEPTIONS.get(provider_status, PaymentException.NONE)
    unconfirmed = _unconfirmed(order)
    if status is ProviderStatus.PENDING and unconfirmed:
        status = ProviderStatus.PROCESSING
    if status is ProviderStatus.EXPIRED and paid is not None and paid.amount > 0:
        exception = PaymentException.PARTIAL  # even if paid in full: Zaprite didn't settle it
    return InvoiceSnapshot(
        provider_invoice_id=_text(order, "id"),
        status=status,
        exception=exception,
        charged=charged,
        paid=paid,
        order_id=order_id_of(order),
        provider_status=printable(provider_status[:_MAX_STATUS]),
        unconfirmed=unconfirmed,
        expires_at=iso_time(order.get("expiresAt")),
    )


def _unconfirmed(order: dict[str, Any]) -> bool:
    """Return whether the order has a transaction that is not confirmed."""
    listed = order.get("transactions")
    return isinstance(listed, list) and any(
        isinstance(transaction, dict) and transaction.get("status", _CONFIRMED) != _CONFIRMED for transaction in listed
    )


def found_order(order: dict[str, Any]) -> FoundInvoice:
    """Parse an entry of a list. Raises `RemoteResponseInvalid`."""
    return FoundInvoice(created_order(order), snapshot_of(order), made_at(order), policy_of(order))


def order_id_of(order: Any) -> str | None:
    """Return our invoice id, if the order contains one."""
    return optional_text(order, "externalUniqId")


def made_at(order: Any) -> datetime | None:
    """Return when an order was created, or None if unknown."""
    return iso_time(order.get("createdAt")) if isinstance(order, dict) else None


def _charged(order: dict[str, Any]) -> Money | None:
    amounts = (order.get("totalAmount"), order.get("amount"))
    amount = next((candidate for candidate in amounts if candidate is not None), None)
    try:
        return None if amount is None else Money(amount, _text(order, "currency"))
    except InvalidInput as error:
        raise RemoteResponseInvalid(f"the amount of Zaprite's order can't be read: {error}") from error


def _paid(order: dict[str, Any], charged: Money | None, status: ProviderStatus) -> Money | None:
    """Return the sum of the confirmed transactions, or None if they don't report it in the order's own currency.

    Also None if the sum is less than a settled order's price, since a merchant can mark an order as paid elsewhere.
    """
    listed = order.get("transactions")
    if charged is None or not isinstance(listed, list):
        return None
    try:
        confirmed = [transaction for transaction in listed if transaction.get("status", _CONFIRMED) == _CONFIRMED]
        reported = [
            transaction["amountInOrderCurrency"]
            for transaction in confirmed
            if transaction.get("orderCurrency", charged.currency) == charged.currency
        ]
        paid = Money(sum(reported), charged.currency)
    except (AttributeError, KeyError, TypeError, InvalidInput):
        return None
    falls_short = status is ProviderStatus.SETTLED and paid.amount < charged.amount
    return None if len(reported) < len(confirmed) or falls_short else paid


def event_of(body: bytes) -> ReceivedEvent:
    """Parse an authentic body.

    Zaprite has no known delivery ids, and an id in the body may be the webhook's own, the same in each delivery. So the
    hash of the body is the delivery id. Identical bodies are one delivery, and a changed state has another body. If an
    order returns to an earlier state with an identical body, the invoice's schedule detects it.

    Raises:
        WebhookMalformed: the body has neither a type nor an order.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookMalformed from None
    outer = fields if isinstance(fields, dict) else {}
    data = optional_object(outer, "data")
    inner = optional_object(data, "object")
    kind = _name(outer.get(field) for field in ("event", "eventType", "type", "name"))
    invoice_id = _name((data.get("id"), inner.get("id"), outer.get("orderId"), outer.get("id")))
    if kind is None and invoice_id is None:
        raise WebhookMalformed
    order_id = _name(part.get("externalUniqId") for part in (data, inner, outer))
    return ReceivedEvent(hashlib.sha256(body).hexdigest(), kind or "unknown", invoice_id, order_id)


def _name(candidates: Iterable[Any]) -> str | None:
    return next((candidate for candidate in candidates if is_name(candidate)), None)


def order_of(response: HttpResponse) -> dict[str, Any]:
    """Return the response as an order. Raises `RemoteResponseInvalid`."""
    return require_object(response.json, "Zaprite", "an order")


def _text(order: dict[str, Any], field: str) -> str:
    return require_text(order, field, "Zaprite's order")
