"""Give notice before a license ends, and when it has ended: an event for programs, and mail to the holder.

A license is due when its next notice is, and right after its end was set or moved, which a trigger notes. A notice is
given once, thanks to `UNIQUE(license_id, ends_at, days_before)`. Of several that are due at once, as after an outage,
only the most urgent one is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.mail.owe import owe_expiry
from keysat.models import ExpiryNotice, License, Policy, Subscription
from keysat.models.audit import audit
from keysat.models.license import LicenseStatus
from keysat.queue.outbox import EventType, emit_license

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def give_notices(session: Session, limit: int) -> int:
    """Give the notices of at most `limit` licenses that are due, and set when each is due next. Returns how many."""
    now = session.scalars(select(func.now())).one()
    looked_at = 0
    for row, days in _due(session, limit):
        looked_at += 1
        notice = due_notice(row.expires_at, days, row.next_notice_at, now) if row.expires_at else None
        if notice is not None:
            _give(session, row, notice)
        moments = [] if row.expires_at is None else _moments(row.expires_at, days)
        coming = min((moment for moment, _ in moments if moment > now), default=None)
        session.execute(update(License).where(License.id == row.id).values(next_notice_at=coming or _NEVER))
    return looked_at


def due_notice(end: datetime, days: Sequence[int], since: datetime | None, now: datetime) -> int | None:
    """Return how many days before the end the notice is that is due now, or None. 0 = the license has ended. Pure.

    `since` is when the license became due: at a notice's time, or when its end was set. Notices before that would have
    been too early. None is a license from before there were notices, whose past ones aren't given.
    """
    if end <= now:
        return None if since is None else 0
    begin = now if since is None else since
    passed = [number for moment, number in _moments(end, days) if begin <= moment <= now]
    return min(passed, default=None)


def _moments(end: datetime, days: Sequence[int]) -> list[tuple[datetime, int]]:
    return [(end - timedelta(days=number), number) for number in {*days, 0}]


def _due(session: Session, limit: int) -> list[tuple[License, list[int]]]:
    active = (License.expires_at.is_not(None), License.status == LicenseStatus.ACTIVE)
    found: list[tuple[License, list[int]]] = []
    for due, order in (
        (License.next_notice_at <= func.now(), License.next_notice_at),
        (License.next_notice_at.is_(None), License.id),
    ):
        wanted = select(License, Policy.expiry_notice_days).join(Policy, Policy.id == License.policy_id)
        wanted = wanted.where(*active, due).order_by(order).limit(limit - len(found))
        wanted = wanted.with_for_update(of=License, skip_locked=True, key_share=True)
        rows = session.execute(wanted.execution_options(populate_existing=True)).all()
        found += [(row, days) for row, days in rows]
    return found


def _give(session: Session, row: License, days_before: int) -> None:
    once = insert(ExpiryNotice).values(id=uuid7(), license_id=row.id, ends_at=row.expires_at, days_before=days_before)
    notice_id = session.scalar(once.on_conflict_do_nothing().returning(ExpiryNotice.id))
    if notice_id is None:
        return
    kind = EventType.LICENSE_EXPIRED if days_before == 0 else EventType.LICENSE_EXPIRING_SOON
    emit_license(session, kind, row.id)
    if not _cancelled(session, row.id):
        owe_expiry(session, row.id, notice_id, over=days_before == 0)
    audit(session, "scan", kind, row.id, days_before=days_before)


def _cancelled(session: Session, license_id: UUID) -> bool:
    wanted = select(Subscription.id).where(Subscription.license_id == license_id, Subscription.cancelled)
    return session.scalar(wanted) is not None
