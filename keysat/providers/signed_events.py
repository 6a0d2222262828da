"""Webhook bodies that are signed with HMAC-SHA256 and carry `deliveryId`, `type` and `invoiceId`."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from keysat.providers.base import ProviderEvent, WebhookRejected


def require_signature(secret: str, body: bytes, given: str, prefix: str = "") -> None:
    """Compare the given signature, hex behind a prefix, with that of the raw body, in constant time.

    Raises:
        WebhookRejected: they differ.
    """
    wanted = prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode()):
        raise WebhookRejected("the webhook's signature does not fit its body and our secret.")


def read_event(body: bytes) -> tuple[ProviderEvent, dict[str, Any]]:
    """Read a verified body; returns the event and the body's fields.

    Raises:
        WebhookRejected: it has another shape.
    """
    try:
        fields = json.loads(body)
        delivery_id, kind, invoice_id = fields["deliveryId"], fields["type"], fields.get("invoiceId")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WebhookRejected("the webhook's body is not an event.") from None
    if not (isinstance(delivery_id, str) and isinstance(kind, str) and isinstance(invoice_id, str | None)):
        raise WebhookRejected("the webhook's body is not an event.")
    return ProviderEvent(delivery_id, kind, invoice_id), fields
