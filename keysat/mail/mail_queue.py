"""Queue mails: select the due ones, lease them to senders, and record what the mail server replied.

Trouble of the server counts against no mail: each waits a minute. A reply about one mail counts against that mail, and
so does no reply to one that was handed over, of which each attempt may make a copy. It is a dead letter at once if the
server refuses it for good, or after ten attempts in at least five days.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, case, func, literal, or_, select, update
from sqlalchemy.orm import Session

from keysat.models import Mail
from keysat.models.columns import seconds
from keysat.models.mail import MailStatus
from keysat.queue.claim import claim, pull_back

# The sender renews it at each third. One that is over belongs to a sender that died.
LEASE = timedelta(seconds=45)
AT_ONCE = 4
# Seconds between each attempt and the one before. Greylisting takes minutes.
DELAYS = (0, 60, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200)
TROUBLE_SECONDS = 60.0
GIVE_UP_AFTER = timedelta(days=5)
_JITTER = 0.2
_MAX_WAIT = timedelta(hours=15)
_LOCK = 7_418_065


@dataclass(frozen=True)
class LeasedMail:
    """A mail to send now. No other sender takes it until `leased_until`."""

    mail_id: UUID
    kind: str
    attempts: int
    leased_until: datetime


def due_mails(session: Session, limit: int) -> list[UUID]:
    """Return the mails to send now, longest waiting first, at most as many as may be sent at once."""
    room = min(limit, AT_ONCE - _running(session))
    due = select(Mail.id).where(Mail.next_attempt_at <= func.now()).order_by(Mail.next_attempt_at)
    return list(session.scalars(due.limit(max(0, room))))


def pull_back_mails(session: Session) -> None:
    """Reschedule for now the mails that a wrong clock scheduled too far ahead, leased ones included."""
    pull_back(session, Mail.next_attempt_at, _MAX_WAIT)


def lease_mail(session: Session, mail_id: UUID) -> LeasedMail | None:
    """Lease a due mail. Return None if it isn't due, or if enough are being sent."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if _running(session) >= AT_ONCE:
        return None
    until = func.now() + LEASE
    leases = {Mail.leased_until: until}
    if not claim(session, Mail.next_attempt_at, 1, until, Mail.id == mail_id, max_wait=_MAX_WAIT, values=leases):
        return None
    row = session.execute(select(Mail.kind, Mail.attempts, Mail.leased_until).where(Mail.id == mail_id)).one()
    return LeasedMail(mail_id, row.kind, row.attempts, row.leased_until)


def lock_mail(session: Session, leased: LeasedMail) -> Mail | None:
    """Lock a leased mail until the transaction ends. Return None if another sender leased it by now, or if it ended."""
    ours = select(Mail).where(Mail.id == leased.mail_id, Mail.leased_until == leased.leased_until)
    return session.scalar(ours.with_for_update())


def renewal_seconds() -> float:
    """Return how often a sender renews its lease."""
    return LEASE.total_seconds() / 3


def renew_mail(session: Session, leased: LeasedMail) -> LeasedMail | None:
    """Begin a lease anew. Return None if another sender leased the mail by now, or if it was sent."""
    until = func.now() + LEASE
    renewed = session.scalar(
        update(Mail)
        .where(Mail.id == leased.mail_id, Mail.leased_until == leased.leased_until)
        .values(leased_until=until, next_attempt_at=until)
        .returning(Mail.leased_until)
    )
    return None if renewed is None else replace(leased, leased_until=renewed)


def record_sent(session: Session, leased: LeasedMail, answer: str) -> UUID | None:
    """Record that the server took a mail, even if another sender leased it by now. Return the next one to send."""
    session.execute(
        update(Mail)
        .where(Mail.id == leased.mail_id, Mail.status != MailStatus.SENT)
        .values(
            status=MailStatus.SENT,
            attempts=Mail.attempts + 1,
            answer=answer,
            last_error=None,
            **ended(),
        )
    )
    return next(iter(due_mails(session, 1)), None)


def record_refused(session: Session, leased: LeasedMail, error: str, *, permanent: bool) -> UUID | None:
    """Record a refusal of this mail. Schedule the next attempt, or make it a dead letter. Return the next to send."""
    attempts = leased.attempts + 1
    long_enough = and_(literal(attempts >= len(DELAYS)), Mail.pending_since < func.now() - GIVE_UP_AFTER)
    dead = or_(literal(permanent), long_enough)
    due = func.now() + seconds(_jittered(DELAYS[min(attempts, len(DELAYS) - 1)]))
    session.execute(
        update(Mail)
        .where(Mail.id == leased.mail_id, Mail.leased_until == leased.leased_until)
        .values(
            status=case((dead, MailStatus.FAILED.value), else_=Mail.status),
            attempts=attempts,
            last_error=error,
            leased_until=None,
            next_attempt_at=case((dead, None), else_=due),
            ended_at=case((dead, func.now()), else_=None),
        )
    )
    return next(iter(due_mails(session, 1)), None)


def record_trouble(session: Session, leased: LeasedMail, error: str) -> None:
    """Record that the server, or something of ours, is in trouble. The mail waits, and its attempts don't count."""
    session.execute(
        update(Mail)
        .where(Mail.id == leased.mail_id, Mail.leased_until == leased.leased_until)
        .values(last_error=error, leased_until=None, next_attempt_at=func.now() + seconds(_jittered(TROUBLE_SECONDS)))
    )


def record_dropped(session: Session, leased: LeasedMail, why: str) -> UUID | None:
    """Record that a mail isn't sent, because it is no longer true. Return the next one to send."""
    session.execute(
        update(Mail)
        .where(Mail.id == leased.mail_id, Mail.leased_until == leased.leased_until)
        .values(status=MailStatus.DROPPED, last_error=why, **ended())
    )
    return next(iter(due_mails(session, 1)), None)


def ended() -> dict[str, object]:
    """Return the values of a mail that was sent or dropped. Its message and its link open what it is about."""
    return {
        "next_attempt_at": None,
        "leased_until": None,
        "ended_at": func.now(),
        "sealed_message": None,
        "sealed_link": None,
    }


def _running(session: Session) -> int:
    """Return how many are being sent. A lease that ends after the max lease time was written by a wrong clock."""
    leased = Mail.leased_until.between(func.now(), func.now() + LEASE)
    return session.scalar(select(func.count()).select_from(Mail).where(leased)) or 0


def _jittered(wait: float) -> float:
    return wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret
