"""Zaprite's JSON of the records: orders, and the events about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from keysat.sandbox.deliveries import Message
from keysat.sandbox.records import Additional, Event, Invoice, Status, Store
from keysat.sandbox.wire import to_json


def order_data(invoice: Invoice, base_url: str) -> dict[str, Any]:
    """Return Zaprite's order, including the fields of its request. Amounts are in the smallest unit."""
    currency = invoice.draft.currency
    return {
        **invoice.draft.checkout,
        **_state(invoice),
        "createdAt": datetime.fromtimestamp(invoice.created_at, UTC).isoformat(),
        "expiresAt": datetime.fromtimestamp(invoice.expires_at, UTC).isoformat(),
        "checkoutUrl": f"{base_url}/order/{invoice.id}",
        "totalAmount": invoice.amount,
        "currency": currency,
        "transactions": [
            {
                "id": payment.id,
                "amountInOrderCurrency": payment.amount,
                "orderCurrency": currency,
                "status": "CONFIRMED" if payment.is_confirmed else "PENDING",
            }
            for payment in invoice.payments
        ],
    }


def order_messages(store: Store, event: Event) -> Iterator[Message]:
    """Zaprite's unsigned event of a change, which may come twice with the same state."""
    content = to_json({"event": "order.change", "data": _state(event.invoice)})
    for webhook in store.webhooks:
        if webhook.wants(event.kind):
            yield Message(webhook.url, content, redelivers=webhook.redelivers)


def _state(invoice: Invoice) -> dict[str, Any]:
    return {"id": invoice.id, "externalUniqId": invoice.order_id, "status": _status(invoice)}


def _status(invoice: Invoice) -> str:
    if invoice.is_refunded:
        return "REFUNDED"
    match invoice.status, invoice.additional:
        case Status.INVALID, _:
            return "INVALID"
        case Status.SETTLED, Additional.MARKED:
            return "COMPLETE"
        case Status.SETTLED, Additional.OVER:
            return "OVERPAID"
        case Status.SETTLED, _:
            return "PAID"
        case Status.PROCESSING, _:
            return "PROCESSING"
        case Status.EXPIRED, Additional.LATE:
            return "PAID" if invoice.is_confirmed else "PROCESSING"
        case Status.EXPIRED, _:
            return "EXPIRED"
        case _:
            return "UNDERPAID" if invoice.payments else "PENDING"
