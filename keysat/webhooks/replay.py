"""Resend deliveries that were delivered or failed: one, or many at a rate. Their earlier attempts stay on record."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.errors import Conflict, NotFound
from keysat.core.hints import Hint
from keysat.models import OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.models.audit import audit
from keysat.models.columns import seconds
from keysat.webhooks.deliveries import Filter


def resend_delivery(session: Session, delivery_id: UUID, actor: str) -> None:
    """Resend a delivery at once, with ten new attempts.

    Raises:
        NotFound: no such delivery.
        Conflict: another worker is sending it.
    """
    if _send_again(session, WebhookDelivery.id == delivery_id, rate=0) == 1:
        audit(session, actor, "delivery.retried", delivery_id)
        return
    if session.get(WebhookDelivery, delivery_id) is None:
        raise NotFound("delivery", delivery_id, Hint.LIST_DELIVERIES)
    raise Conflict(f"delivery {delivery_id} is being sent at this moment.")


def count_replay(session: Session, which: Filter) -> int:
    """Return how many deliveries a replay would resend."""
    return session.scalar(select(func.count()).select_from(_found(which).subquery())) or 0


def replay(session: Session, which: Filter, rate: float, actor: str) -> int:
    """Resend finished deliveries, oldest first, at `rate` per second. Return how many."""
    count = _send_again(session, WebhookDelivery.id.in_(_found(which)), rate)
    audit(session, actor, "delivery.replayed", uuid7(), count=count, rate=rate or None, **which.to_dict)
    return count


def _found(which: Filter) -> Select[UUID]:
    return (
        select(WebhookDelivery.id)
        .join(OutboundEvent, OutboundEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(which.condition, ~WebhookDelivery.pending)
    )


def _send_again(session: Session, which: ColumnElement[bool], rate: float) -> int:
    """Schedule deliveries, the first now and each next one 1/rate seconds later. With a rate of 0, all are now."""
    number = func.row_number().over(order_by=WebhookDelivery.event_id) - 1
    free = or_(WebhookDelivery.leased_until.is_(None), WebhookDelivery.leased_until < func.now())
    due = select(WebhookDelivery.id, number.label("number")).where(which, free).subquery()
    wait = due.c.number / rate if rate else 0 * due.c.number
    sent = session.scalars(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == due.c.id)
        .values(
            next_attempt_at=func.now() + seconds(wait),
            leased_until=None,
            attempts=0,
            delivered_at=None,
            last_error=None,
        )
        .returning(WebhookDelivery.id)
    )
    return len(sent.all())
