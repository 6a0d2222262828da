"""The inbox: stores each provider webhook once, pending until the provider is queried about its invoice.

An event is only a hint: it leads to a new query to the provider, and to nothing else. One query handles all events
about that invoice that were received before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased
from uuid_utils.compat import uuid7

from keysat.core.errors import require
from keysat.models import Invoice, ProviderAccount, ProviderEvent
from keysat.models.columns import seconds
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import ReceivedEvent
from keysat.queue.claim import Claim, claim, release

# The message sent with the commit handles an event at once. If that message is lost, a scan sends another.
FIRST_RETRY = timedelta(seconds=30)
_MAX_DOUBLINGS = 7
_MAX_WAIT = timedelta(hours=2)
# After that (about two days) the event is left to the invoice's own schedule. A settled invoice has none, so its events
# are retried until the provider responds.
MAX_ATTEMPTS = 50
_SEEN_EVERY = timedelta(seconds=5)


# A purchase sends about six events. Events beyond this limit wait for the next scan, where one query handles them all.
MAX_CHECKS_A_MINUTE = 10


@dataclass(frozen=True)
class WebhookHint:
    """Our invoice that a stored event is about, or None.

    `handled`: the event is handled. `checks` is the number of checks that webhooks caused within the last minute.
    `named` is the provider's id in the event.
    """

    invoice_id: UUID | None
    handled: bool
    checks: int
    named: str | None = None

    @property
    def invoice_to_check(self) -> UUID | None:
        """The invoice to check at the provider now, or None."""
        return None if self.handled or self.waits else self.invoice_id

    @property
    def waits(self) -> bool:
        """Whether the event waits for the next scan, because there are too many about this invoice."""
        return not self.handled and self.checks >= MAX_CHECKS_A_MINUTE


def store(session: Session, account_id: UUID, event: ReceivedEvent, body: bytes) -> UUID | None:
    """Store an event with its raw body. Return its id, or None if its delivery was stored before."""
    _note_arrival(session, account_id)
    return session.scalar(
        insert(ProviderEvent)
        .values(
            id=uuid7(),
            provider_account_id=account_id,
            delivery_id=event.delivery_id,
            kind=event.kind,
            provider_invoice_id=event.provider_invoice_id,
            order_id=_as_id(event.order_id),
            body=body,
            next_attempt_at=func.now() + FIRST_RETRY,
        )
        .on_conflict_do_nothing(index_elements=[ProviderEvent.provider_account_id, ProviderEvent.delivery_id])
        .returning(ProviderEvent.id)
    )


def hint_of(session: Session, event_id: UUID) -> WebhookHint:
    """Find the invoice that an event is about, by the provider's id, or for an unopened invoice by ours.

    Raises:
        NotFound: no such event.
    """
    by_theirs = Invoice.provider_invoice_id == ProviderEvent.provider_invoice_id
    by_ours = and_(Invoice.provider_invoice_id.is_(None), Invoice.id == ProviderEvent.order_id)
    of_account = Invoice.provider_account_id == ProviderEvent.provider_account_id
    related = aliased(ProviderEvent)
    checks = (
        select(func.count())
        .where(
            related.provider_account_id == ProviderEvent.provider_account_id,
            related.provider_invoice_id == ProviderEvent.provider_invoice_id,
            related.looked_at.between(func.now() - timedelta(minutes=1), func.now()),
        )
        .scalar_subquery()
        .label("checks")
    )
    found = session.execute(
        select(Invoice.id.label("invoice_id"), ProviderEvent.handled_at, checks, ProviderEvent.provider_invoice_id)
        .select_from(ProviderEvent)
        .outerjoin(Invoice, and_(of_account, or_(by_theirs, by_ours)))
        .where(ProviderEvent.id == event_id)
    ).first()
    row = require(found, "provider event", event_id)
    return WebhookHint(
        row.invoice_id, handled=row.handled_at is not None, checks=row.checks, named=row.provider_invoice_id
    )


def mark_handled(session: Session, event_id: UUID, asked_at: datetime | None = None) -> None:
    """Mark an event as handled, and those about the same invoice that were received before the query at `asked_at`."""
    this, unhandled = ProviderEvent.id == event_id, ~ProviderEvent.handled
    which: ColumnElement[bool] = this
    if asked_at is not None:
        event = session.get_one(ProviderEvent, event_id)
        which = or_(
            this,
            and_(
                ProviderEvent.provider_account_id == event.provider_account_id,
                ProviderEvent.provider_invoice_id == event.provider_invoice_id,
                ProviderEvent.received_at <= asked_at,
                unhandled,
            ),
        )
    looked_at = case((this, func.now()), else_=ProviderEvent.looked_at) if asked_at else ProviderEvent.looked_at
    session.execute(
        update(ProviderEvent)
        .where(which)
        .values(
            handled_at=func.coalesce(ProviderEvent.handled_at, func.now()), next_attempt_at=None, looked_at=looked_at
        )
    )


def claim_events(session: Session, limit: int) -> list[Claim]:
    """Claim pending events, and postpone the next attempt of each: 30 s, doubling up to about an hour.

    Events of accounts that are paused or behind an open breaker wait, and use up no attempt.
    """
    wait = FIRST_RETRY.total_seconds() * func.power(2, func.least(ProviderEvent.attempts, _MAX_DOUBLINGS))
    claimed = claim(
        session,
        ProviderEvent.next_attempt_at,
        limit,
        func.now() + seconds(wait),
        ProviderEvent.provider_account_id.not_in(select(ProviderAccount.id).where(ProviderAccount.resting(func.now()))),
        max_wait=_MAX_WAIT,
        values={ProviderEvent.attempts: ProviderEvent.attempts + 1},
    )
    claims = [Claim(row.row_id) for row in claimed]
    of_settled = exists().where(
        Invoice.provider_account_id == ProviderEvent.provider_account_id,
        Invoice.provider_invoice_id == ProviderEvent.provider_invoice_id,
        Invoice.status == InvoiceStatus.SETTLED,
    )
    session.execute(
        update(ProviderEvent)
        .where(
            ProviderEvent.id.in_([event.row_id for event in claims]), ProviderEvent.attempts > MAX_ATTEMPTS, ~of_settled
        )
        .values(next_attempt_at=None)
    )
    return claims


def release_events(session: Session, event_ids: list[UUID]) -> None:
    """Make claimed events due at once again."""
    release(session, ProviderEvent.next_attempt_at, event_ids)


def _note_arrival(session: Session, account_id: UUID) -> None:
    """Record that webhooks arrive, at most every 5 s, so that many of them don't contend for the account's row."""
    stale = or_(ProviderAccount.last_event_at.is_(None), ProviderAccount.last_event_at < func.now() - _SEEN_EVERY)
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, stale)
        .values(
            last_event_at=func.now(),
            webhook_connected_at=func.coalesce(ProviderAccount.webhook_connected_at, func.now()),
        )
    )


def _as_id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
