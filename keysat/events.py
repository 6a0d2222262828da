"""Events for the operator's receivers: written, with what they owe, in the transaction of what they tell of.

Nothing is sent here. A delivery is a row that is due at once; `keysat.webhooks` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.models import OutboundEvent, WebhookDelivery, WebhookEndpoint


class EventType(StrEnum):
    """What can happen; the names are those of the contract with existing receivers."""

    LICENSE_ISSUED = "license.issued"
    LICENSE_REVOKED = "license.revoked"
    LICENSE_SUSPENDED = "license.suspended"
    LICENSE_UNSUSPENDED = "license.unsuspended"
    INVOICE_SETTLED = "invoice.settled"
    INVOICE_EXPIRED = "invoice.expired"
    INVOICE_INVALID = "invoice.invalid"
    INVOICE_REVIEW_NEEDED = "invoice.review_needed"
    CODE_REDEEMED = "code.redeemed"
    MACHINE_ACTIVATED = "machine.activated"
    MACHINE_DEACTIVATED = "machine.deactivated"
    TIP_SENT = "tip.sent"
    TIP_FAILED = "tip.failed"
    ENDPOINT_DISABLED = "endpoint.disabled"


def emit(
    session: Session,
    event_type: EventType,
    data: Mapping[str, object],
    *,
    invoice_id: UUID | None = None,
    license_id: UUID | None = None,
) -> None:
    """Write an event and a delivery for each endpoint that wants it; nothing where nobody does.

    `data` must be JSON but for ids and times, which become text. It must hold no secrets and no license keys.
    """
    wants = or_(
        func.cardinality(WebhookEndpoint.event_types) == 0, WebhookEndpoint.event_types.contains([event_type.value])
    )
    endpoints = session.scalars(select(WebhookEndpoint.id).where(WebhookEndpoint.disabled_at.is_(None), wants)).all()
    if not endpoints:
        return
    event = OutboundEvent(
        id=uuid7(),
        event_type=event_type,
        body=_body(event_type, data),
        invoice_id=invoice_id,
        license_id=license_id,
    )
    session.add(event)
    session.flush()
    owed = [
        {"id": uuid7(), "event_id": event.id, "endpoint_id": endpoint, "next_attempt_at": func.now()}
        for endpoint in endpoints
    ]
    session.execute(insert(WebhookDelivery).values(owed))


def _body(event_type: EventType, data: Mapping[str, object]) -> str:
    envelope = {"event_type": event_type, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    return json.dumps(envelope, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in an event")
