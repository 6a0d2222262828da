"""Webhook bodies that are signed with HMAC-SHA256 and contain `deliveryId`, `type` and `invoiceId`."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from keysat.providers.base import ReceivedEvent
from keysat.providers.refusals import WebhookMalformed, WebhookRejected

_MAX_CHARACTERS = 200


def require_signature(secret: str, body: bytes, given: str, prefix: str = "") -> None:
    """Compare a signature, a prefix and hex, with the one of the raw body, in constant time.

    Raises:
        WebhookRejected: they differ.
    """
    wanted = prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode()):
        raise WebhookRejected("the webhook's signature does not fit its body and our secret.")


def read_event(body: bytes) -> tuple[ReceivedEvent, dict[str, Any]]:
    """Parse a verified body. Returns the event and the body's fields.

    Raises:
        WebhookMalformed: the body has another shape.
    """
    try:
        fields = json.loads(body)
        delivery_id, kind, invoice_id = fields["deliveryId"], fields["type"], fields.get("invoiceId")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WebhookMalformed from None
    if not (is_name(delivery_id) and is_name(kind) and (invoice_id is None or is_name(invoice_id))):
        raise WebhookMalformed
    return ReceivedEvent(delivery_id, kind, invoice_id), fields


def is_name(value: object) -> bool:
    """Return whether a value can be stored as an id or a kind: a short text without control characters."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS and value.isprintable()
