"""List and show deliveries, with their status and attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, ColumnExpressionArgument, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from keysat.core.errors import require
from keysat.core.hints import Hint
from keysat.models import DeliveryAttempt, OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.models.columns import newest


class DeliveryStatus(StrEnum):
    """The status of a delivery. `failed` is a dead letter, which only a retry or replay resends."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"

    @property
    def condition(self) -> ColumnExpressionArgument[bool]:
        """The condition that a delivery has this status."""
        is_pending, done = WebhookDelivery.pending, WebhookDelivery.delivered
        return {self.PENDING: is_pending, self.DELIVERED: done, self.FAILED: ~or_(is_pending, done)}[self]

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> DeliveryStatus:
        """Return the status of a row."""
        if delivery.pending:
            return cls.PENDING
        return cls.DELIVERED if delivery.delivered else cls.FAILED


@dataclass(frozen=True)
class Filter:
    """A filter on deliveries: by endpoint, by event type, by status, and by time of the event."""

    endpoint: str | None = None
    event_type: str | None = None
    status: DeliveryStatus | None = None
    since: datetime | None = None

    @property
    def to_dict(self) -> dict[str, str | None]:
        """The filter's values, for the audit log."""
        return {name: None if value is None else str(value) for name, value in self.__dict__.items()}

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition on deliveries joined to their events and endpoints."""
        wanted = (
            (self.endpoint, WebhookEndpoint.name == self.endpoint),
            (self.event_type, OutboundEvent.event_type == self.event_type),
            (self.status, None if self.status is None else self.status.condition),
            (self.since, None if self.since is None else OutboundEvent.created_at >= self.since),
        )
        conditions = [condition for given, condition in wanted if given is not None and condition is not None]
        return and_(WebhookDelivery.id.is_not(None), *conditions)


@dataclass(frozen=True)
class Delivery:
    """A delivery with its event and endpoint, for display. `attempts` is the number made of the current ten."""

    id: UUID
    event: str
    endpoint: str
    status: str
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: int
    last_error: str | None


def list_deliveries(session: Session, which: Filter, limit: int, before: UUID | None = None) -> list[Delivery]:
    """Return the newest deliveries that match, at most `limit`, older than the one with the id `before`."""
    wanted = newest(_joined().where(which.condition), WebhookDelivery.id, limit, before)
    return [_to_delivery(delivery, event, endpoint) for delivery, event, endpoint in session.execute(wanted)]


def count_dead(session: Session) -> int:
    """Return how many deliveries are dead letters."""
    dead = select(func.count()).select_from(WebhookDelivery).where(DeliveryStatus.FAILED.condition)
    return session.scalar(dead) or 0


def show_delivery(session: Session, delivery_id: UUID) -> tuple[Delivery, str, list[DeliveryAttempt]]:
    """Return a delivery, its body, and its attempts, oldest first.

    Raises:
        NotFound: no such delivery.
    """
    row = session.execute(_joined().where(WebhookDelivery.id == delivery_id)).one_or_none()
    mine = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id).order_by(DeliveryAttempt.id)
    delivery, event, endpoint = require(row, "delivery", delivery_id, Hint.LIST_DELIVERIES)
    return _to_delivery(delivery, event, endpoint), event.body, list(session.scalars(mine))


def _joined() -> Select[WebhookDelivery, OutboundEvent, WebhookEndpoint]:
    return (
        select(WebhookDelivery, OutboundEvent, WebhookEndpoint)
        .join(OutboundEvent, OutboundEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    )


def _to_delivery(row: WebhookDelivery, event: OutboundEvent, endpoint: WebhookEndpoint) -> Delivery:
    return Delivery(
        id=row.id,
        event=event.event_type,
        endpoint=endpoint.name,
        status=DeliveryStatus.of(row),
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        next_attempt_at=row.next_attempt_at,
        attempts=row.attempts,
        last_error=row.last_error,
    )
