"""The outbox: deliveries that are due, who is at which, and what came of an attempt.

A delivery is a row that is due. Whoever sends it leases it first, under the lock of its endpoint, so that at most so
many attempts run at one endpoint at a time: one that hangs delays nobody else. A sender that dies leaves a lease that
ends by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, select, true, update
from sqlalchemy.orm import Session

from keysat.models import DeliveryAttempt, OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.models.columns import seconds
from keysat.queue.claim import pull_back
from keysat.webhooks.backoff import next_wait
from keysat.webhooks.endpoints import disable_endpoint

# An attempt takes 10 s at most; a lease that outlives it belongs to a sender that died.
LEASE = timedelta(seconds=30)
FAILING_FOR = timedelta(days=5)
_MAX_WAIT = timedelta(hours=25)
_GONE = 410


@dataclass(frozen=True)
class Leased:
    """A delivery to attempt now, by nobody else until `leased_until`."""

    delivery_id: UUID
    endpoint_id: UUID
    endpoint: str
    url: str
    sealed_secrets: bytes
    with_previous: bool
    event_type: str
    body: bytes
    attempts: int
    leased_until: datetime


@dataclass(frozen=True)
class Attempt:
    """What came of an attempt: the HTTP status and an excerpt of the answer, or why there is none."""

    duration_ms: int
    status_code: int | None = None
    answer: str | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it: 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def failure(self) -> str | None:
        """What went wrong, in a few words."""
        return None if self.delivered else self.error or f"answered {self.status_code}"


def due_deliveries(session: Session, each: int, limit: int) -> list[UUID]:
    """Deliveries that are due: of each endpoint at most `each`, those that wait longest."""
    mine = (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at)
        .where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, WebhookDelivery.next_attempt_at <= func.now())
        .order_by(WebhookDelivery.next_attempt_at)
        .limit(each)
        .lateral("mine")
    )
    wanted = select(mine.c.id).select_from(WebhookEndpoint).join(mine, true()).where(_open())
    return list(session.scalars(wanted.order_by(mine.c.next_attempt_at).limit(limit)))


def pull_back_deliveries(session: Session) -> None:
    """Let deliveries be due, and leases end, that a clock which was wrong put far ahead."""
    endpoints = WebhookDelivery.endpoint_id.in_(select(WebhookEndpoint.id))
    pull_back(session, WebhookDelivery.next_attempt_at, _MAX_WAIT, endpoints)


def lease(session: Session, delivery_id: UUID, at_once: int) -> Leased | None:
    """Take a delivery that is due; None when it isn't, or when `at_once` attempts run at its endpoint already."""
    endpoint = session.execute(
        select(WebhookEndpoint, WebhookEndpoint.previous_until > func.now())
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .where(WebhookDelivery.id == delivery_id, _open())
        .with_for_update(of=WebhookEndpoint, key_share=True)
    ).one_or_none()
    if endpoint is None or _running(session, endpoint[0].id) >= at_once:
        return None
    to, with_previous = endpoint
    until = func.now() + LEASE
    # A message is a wake-up: where somebody else took this delivery, the one that waits longest goes.
    this_one_first = (WebhookDelivery.id != delivery_id, WebhookDelivery.next_attempt_at)
    next_one = _due_of(to.id).order_by(None).order_by(*this_one_first)
    row = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == next_one.scalar_subquery(), OutboundEvent.id == WebhookDelivery.event_id)
        .values(leased_until=until, next_attempt_at=until)
        .returning(
            *(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.leased_until),
            *(OutboundEvent.event_type, OutboundEvent.body),
        )
    ).one_or_none()
    if row is None:
        return None
    return Leased(
        delivery_id=row.id,
        endpoint_id=to.id,
        endpoint=to.name,
        url=to.url,
        sealed_secrets=to.sealed_secrets,
        with_previous=bool(with_previous),
        event_type=row.event_type,
        body=row.body.encode(),
        attempts=row.attempts,
        leased_until=row.leased_until,
    )


def record(session: Session, leased: Leased, attempt: Attempt) -> UUID | None:
    """Keep an attempt and what follows from it; returns the endpoint's next delivery that is due, if any.

    What was delivered is delivered, whoever else is at it by now; a failure counts only while the lease is ours.
    """
    locked = select(WebhookEndpoint.id).where(WebhookEndpoint.id == leased.endpoint_id)
    if session.scalar(locked.with_for_update(key_share=True)) is None:
        return None  # removed meanwhile, with its deliveries
    session.add(
        DeliveryAttempt(
            delivery_id=leased.delivery_id,
            status_code=attempt.status_code,
            answer=attempt.answer,
            error=attempt.error,
            duration_ms=attempt.duration_ms,
        )
    )
    gone = attempt.status_code == _GONE
    wait = None if attempt.delivered or gone else next_wait(leased.attempts + 1, attempt.retry_after)
    mine = WebhookDelivery.leased_until == leased.leased_until
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == leased.delivery_id, WebhookDelivery.delivered_at.is_(None))
        .where(true() if attempt.delivered else mine)
        .values(
            attempts=WebhookDelivery.attempts + 1,
            leased_until=None,
            next_attempt_at=None if wait is None else func.now() + seconds(wait),
            delivered_at=func.now() if attempt.delivered else None,
            last_error=attempt.failure,
        )
    )
    _note_health(session, leased, attempt, gone=gone)
    return session.scalar(_due_of(leased.endpoint_id))


def _note_health(session: Session, leased: Leased, attempt: Attempt, *, gone: bool) -> None:
    """Remember since when an endpoint fails, and give it up when it says so or after five days."""
    since = case((literal(attempt.delivered), None), else_=func.coalesce(WebhookEndpoint.failing_since, func.now()))
    overdue = session.scalar(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == leased.endpoint_id)
        .values(failing_since=since)
        .returning(WebhookEndpoint.failing_since < func.now() - FAILING_FOR)
    )
    if gone:
        disable_endpoint(session, leased.endpoint_id, "it answered 410: it wants nothing more", "deliver")
    elif overdue and _failed_before(session, leased.endpoint_id):
        disable_endpoint(session, leased.endpoint_id, f"it has failed for 5 days: {attempt.failure}", "deliver")


def _failed_before(session: Session, endpoint_id: UUID) -> bool:
    """Whether an attempt of another day found the endpoint failing for days: a clock may be wrong once."""
    failing = WebhookEndpoint.failing_since + FAILING_FOR / 2
    earlier = DeliveryAttempt.at.between(failing, func.now() - timedelta(hours=6))
    found = (
        select(DeliveryAttempt.id)
        .join(WebhookDelivery, WebhookDelivery.id == DeliveryAttempt.delivery_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookEndpoint.id == endpoint_id, earlier)
        .limit(1)
    )
    return session.scalar(found) is not None


def _open() -> ColumnElement[bool]:
    return and_(WebhookEndpoint.paused_at.is_(None), WebhookEndpoint.disabled_at.is_(None))


def _running(session: Session, endpoint_id: UUID) -> int:
    leased = and_(WebhookDelivery.endpoint_id == endpoint_id, _leased())
    return session.scalar(select(func.count()).select_from(WebhookDelivery).where(leased)) or 0


def _leased() -> ColumnElement[bool]:
    """A lease that ends later than any does was written by a clock that was wrong."""
    return WebhookDelivery.leased_until.between(func.now(), func.now() + LEASE)


def _due_of(endpoint_id: UUID) -> Select[UUID]:
    due = and_(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.next_attempt_at <= func.now())
    return select(WebhookDelivery.id).where(due).order_by(WebhookDelivery.next_attempt_at).limit(1)
