"""One webhook delivery: its body, BTCPay's signature, the request, and its redelivery."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from keysat.sandbox.records import Event, Kind, Store, Webhook, new_id
from keysat.sandbox.wire import to_json
from keysat.sandbox.zaprite_views import order_event


@dataclass
class Counts:
    """Deliveries sent, dropped by the plan, delivered (2xx), and failed."""

    sent: int = 0
    dropped: int = 0
    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Delivery:
    """A body for a URL, the delays in seconds before its redeliveries, and the counters for its outcome.

    Without a secret, it has neither a signature nor a delivery id.
    """

    url: str
    secret: bytes | None = field(repr=False)
    body: Mapping[str, Any]
    retry_delays: tuple[float, ...]
    counts: Counts

    def post(self, session: requests.Session, timeout: float) -> int | None:
        """Send the request. Return the response's status, or None if no response arrives within `timeout` seconds."""
        content = to_json(self.body)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.secret is not None:
            headers["BTCPay-Sig"] = "sha256=" + hmac.new(self.secret, content, hashlib.sha256).hexdigest()
        try:
            return session.post(
                self.url, data=content, headers=headers, timeout=timeout, allow_redirects=False
            ).status_code
        except (requests.RequestException, ValueError):
            return None

    def again(self) -> Delivery:
        """Return the redelivery of the same event. A delivery with an id gets a new one and keeps the original's."""
        numbered = {} if self.secret is None else {"deliveryId": new_id(), "isRedelivery": True}
        body = {**self.body, **numbered}
        return replace(self, body=body, retry_delays=self.retry_delays[1:])


def webhook_body(store: Store, webhook: Webhook, event: Event) -> dict[str, Any]:
    """Return BTCPay's `WebhookInvoiceEvent` with the fields of the event's own type, or Zaprite's event."""
    if store.kind is Kind.ZAPRITE:
        return order_event(event)
    delivery_id = new_id()
    return {
        "deliveryId": delivery_id,
        "webhookId": webhook.id,
        "originalDeliveryId": delivery_id,
        "isRedelivery": False,
        "type": event.kind,
        "timestamp": int(event.at),
        "storeId": store.id,
        "invoiceId": event.invoice.id,
        "metadata": event.invoice.draft.metadata,
        **event.details,
    }
