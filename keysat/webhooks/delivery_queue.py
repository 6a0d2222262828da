"""Queue deliveries: select the pending ones, lease them to senders, and record their attempts.

A delivery is a row with a time for its next attempt. A sender first leases it under the lock of its endpoint, which
limits the concurrent attempts per endpoint, so a hanging endpoint doesn't delay the others. If a sender dies, its lease
expires.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, select, true, update
from sqlalchemy.orm import Session

from keysat.models import DeliveryAttempt, OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.models.columns import seconds
from keysat.queue.claim import pull_back
from keysat.queue.outbox import WITH_KEY
from keysat.webhooks.endpoints import disable_endpoint

# An attempt takes at most 10 s. A longer lease belongs to a sender that died.
LEASE = timedelta(seconds=30)
FAILING_FOR = timedelta(days=5)
_MAX_WAIT = timedelta(hours=25)
_GONE = 410
# Seconds between each attempt and the one before: ten attempts within about 23 hours.
DELAYS = (0, 5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200)
_JITTER = 0.2
# The max delay in seconds that a receiver may request with Retry-After.
_MAX_RETRY_AFTER = 86_400.0


@dataclass(frozen=True)
class LeasedDelivery:
    """A delivery to attempt now. No other sender attempts it until `leased_until`.

    `license_id` is the license whose key the endpoint gets with it, if any.
    """

    delivery_id: UUID
    endpoint_id: UUID
    endpoint: str
    url: str
    sealed_secrets: bytes
    with_previous: bool
    event_type: str
    body: bytes
    license_id: UUID | None
    attempts: int
    leased_until: datetime


@dataclass(frozen=True)
class Attempt:
    """The result of an attempt: the HTTP status and an excerpt of the response, or the error."""

    duration_ms: int
    status_code: int | None = None
    answer: str | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it: 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def failure(self) -> str | None:
        """The error in a few words, or None."""
        return None if self.delivered else self.error or f"answered {self.status_code}"


@dataclass(frozen=True)
class Recorded:
    """What follows from an attempt. `wait`: seconds until the delivery's next attempt, None after the last.

    `written` is False if another sender had leased the delivery by then, and the failure changed nothing. `next_id`:
    the endpoint's next delivery to attempt now.
    """

    written: bool
    wait: float | None
    next_id: UUID | None


def due_deliveries(session: Session, per_endpoint: int, limit: int) -> list[UUID]:
    """Return the deliveries to attempt now, longest waiting first, at most `per_endpoint` at one endpoint."""
    mine = (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at)
        .where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, WebhookDelivery.next_attempt_at <= func.now())
        .order_by(WebhookDelivery.next_attempt_at)
        .limit(per_endpoint)
        .lateral("mine")
    )
    wanted = select(mine.c.id).select_from(WebhookEndpoint).join(mine, true()).where(WebhookEndpoint.active)
    return list(session.scalars(wanted.order_by(mine.c.next_attempt_at).limit(limit)))


def pull_back_deliveries(session: Session) -> None:
    """Reschedule for now the deliveries that a wrong clock scheduled too far ahead, leased ones included."""
    endpoints = WebhookDelivery.endpoint_id.in_(select(WebhookEndpoint.id))
    pull_back(session, WebhookDelivery.next_attempt_at, _MAX_WAIT, endpoints)


def lease(session: Session, delivery_id: UUID, at_once: int) -> LeasedDelivery | None:
    """Lease a pending delivery. Return None if there is none, or if its endpoint has `at_once` running attempts."""
    found = session.execute(
        select(WebhookEndpoint, WebhookEndpoint.previous_until > func.now())
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .where(WebhookDelivery.id == delivery_id, WebhookEndpoint.active)
        .with_for_update(of=WebhookEndpoint, key_share=True)
    ).one_or_none()
    if found is None:
        return None
    to, with_previous = found
    if _running(session, to.id) >= at_once:
        return None
    until = func.now() + LEASE
    # A message is a wake-up. If another sender leased this delivery, take the endpoint's longest waiting one.
    this_one_first = (WebhookDelivery.id != delivery_id, WebhookDelivery.next_attempt_at)
    next_one = _due_of(to.id).order_by(None).order_by(*this_one_first)
    row = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == next_one.scalar_subquery(), OutboundEvent.id == WebhookDelivery.event_id)
        .values(leased_until=until, next_attempt_at=until)
        .returning(
            *(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.leased_until),
            *(OutboundEvent.event_type, OutboundEvent.body, OutboundEvent.license_id),
        )
    ).one_or_none()
    if row is None:
        return None
    return LeasedDelivery(
        delivery_id=row.id,
        endpoint_id=to.id,
        endpoint=to.name,
        url=to.url,
        sealed_secrets=to.sealed_secrets,
        with_previous=bool(with_previous),
        event_type=row.event_type,
        body=row.body.encode(),
        license_id=row.license_id if to.with_key and row.event_type in WITH_KEY else None,
        attempts=row.attempts,
        leased_until=row.leased_until,
    )


def record_attempt(session: Session, leased: LeasedDelivery, attempt: Attempt) -> Recorded | None:
    """Store an attempt and its result. Return None, and store nothing, if the endpoint was removed since the lease.

    A success is always stored, even if another sender leased the delivery by now. A failure is stored only while the
    lease is ours.
    """
    locked = select(WebhookEndpoint.id).where(WebhookEndpoint.id == leased.endpoint_id)
    if session.scalar(locked.with_for_update(key_share=True)) is None:
        return None
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
    written = session.scalar(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == leased.delivery_id, ~WebhookDelivery.delivered)
        .where(true() if attempt.delivered else mine)
        .values(
            attempts=WebhookDelivery.attempts + 1,
            leased_until=None,
            next_attempt_at=None if wait is None else func.now() + seconds(wait),
            delivered_at=func.now() if attempt.delivered else None,
            last_error=attempt.failure,
        )
        .returning(WebhookDelivery.id)
    )
    _note_health(session, leased, attempt, gone=gone)
    return Recorded(written is not None, wait, session.scalar(_due_of(leased.endpoint_id)))


def _note_health(session: Session, leased: LeasedDelivery, attempt: Attempt, *, gone: bool) -> None:
    """Store since when an endpoint fails. Disable it after a 410 response or five days of failures."""
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
    """Whether an attempt at least six hours ago also found the endpoint failing for days: a clock may be wrong once."""
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


def _running(session: Session, endpoint_id: UUID) -> int:
    leased = and_(WebhookDelivery.endpoint_id == endpoint_id, _leased())
    return session.scalar(select(func.count()).select_from(WebhookDelivery).where(leased)) or 0


def _leased() -> ColumnElement[bool]:
    """The condition that a lease is active. One that ends after the max lease time was written by a wrong clock."""
    return WebhookDelivery.leased_until.between(func.now(), func.now() + LEASE)


def _due_of(endpoint_id: UUID) -> Select[UUID]:
    due = and_(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.next_attempt_at <= func.now())
    return select(WebhookDelivery.id).where(due).order_by(WebhookDelivery.next_attempt_at).limit(1)


def next_wait(failures: int, retry_after: float | None = None) -> float | None:
    """Return the seconds until the next attempt after this many failures, ±20 %, or None after the last attempt.

    `retry_after` is the delay that the receiver requested, in seconds. It is the min wait, up to one day.
    """
    if failures >= len(DELAYS):
        return None
    wait = DELAYS[failures] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret
    return max(wait, min(retry_after or 0.0, _MAX_RETRY_AFTER))
