"""Extend a license by the period that a renewal pays for, once, and take the period back if the payment goes back.

`UNIQUE(license_extensions.invoice_id)` prevents duplicates: the second transaction inserts nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.models import Invoice, License, LicenseExtension, Subscription
from keysat.models.audit import audit
from keysat.models.license import LicenseStatus
from keysat.queue.outbox import EventType, emit_license, emit_subscription

_LAST = datetime(9999, 1, 1, tzinfo=UTC)


def renewed_until(end: datetime, grace: timedelta, period: timedelta, paid_at: datetime, now: datetime) -> datetime:
    """Return the new end of a license. Pure.

    A payment that came before the end of the grace period continues the license, whenever it was noticed. A later one
    starts it anew. All times are UTC.
    """
    begin = end if paid_at <= end + grace else now.replace(microsecond=0)
    return min(begin, _LAST - period) + period


def renewable(row: License) -> bool:
    """Whether a period can be added to a license: it isn't revoked, and has an end."""
    return row.status != LicenseStatus.REVOKED and row.expires_at is not None


def extend(session: Session, renewal: Invoice, row: License, now: datetime, actor: str) -> bool:
    """Extend a license by one period of its subscription. Its row is locked, and so is the renewal's.

    Returns False if this invoice extended it before. A cancelled subscription goes on. A trial ends.
    """
    assert row.expires_at is not None
    subscription = session.scalars(select(Subscription).where(Subscription.license_id == row.id)).one()
    period = timedelta(seconds=subscription.period_seconds)
    paid_at = renewal.paid_at or renewal.payment_seen_at or renewal.settled_at or now
    end = renewed_until(row.expires_at, row.grace, period, paid_at, now)
    facts = {"previous_end": row.expires_at, "new_end": end, "period_seconds": subscription.period_seconds}
    written = session.scalar(
        insert(LicenseExtension)
        .values(id=uuid7(), invoice_id=renewal.id, license_id=row.id, **facts)
        .on_conflict_do_nothing(index_elements=[LicenseExtension.invoice_id])
        .returning(LicenseExtension.id)
    )
    if written is None:
        return False
    row.expires_at, row.outage_seconds, row.is_trial = end, 0, False
    subscription.cancelled_at = None
    session.flush()
    emit_subscription(session, EventType.SUBSCRIPTION_RENEWED, row.id, renewal.id)
    audit(session, actor, "license.renewed", row.id, invoice_id=str(renewal.id), until=end.isoformat())
    return True


def shorten(session: Session, invoice_id: UUID, why: str, actor: str) -> bool:
    """Take back the period that a renewal added. Returns False if it added none, or it was taken back before."""
    return _move(session, invoice_id, -1, "license.shortened", actor, why=why)


def extend_again(session: Session, invoice_id: UUID, note: str, actor: str) -> bool:
    """Add the period of a renewal again that was taken back. Returns False if there is none."""
    return _move(session, invoice_id, 1, "license.extended_again", actor, note=note)


def _move(session: Session, invoice_id: UUID, sign: int, action: str, actor: str, **facts: object) -> bool:
    license_id = session.scalar(select(LicenseExtension.license_id).where(LicenseExtension.invoice_id == invoice_id))
    if license_id is None:
        return False
    row = locked_license(session, license_id)
    extension = session.scalars(
        select(LicenseExtension)
        .where(LicenseExtension.invoice_id == invoice_id, LicenseExtension.taken_back == (sign > 0))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if extension is None:
        return False
    extension.taken_back_at = None if sign > 0 else func.now()
    if row.expires_at is not None:
        period = timedelta(seconds=extension.period_seconds)
        row.expires_at = min(row.expires_at, _LAST - period) + sign * period
    session.flush()
    emit_license(session, EventType.LICENSE_CHANGED, row.id)
    until = None if row.expires_at is None else row.expires_at.isoformat()
    audit(session, actor, action, row.id, invoice_id=str(invoice_id), until=until, **facts)
    return True


def locked_license(session: Session, license_id: UUID) -> License:
    """Read a license under a lock, as it is now."""
    locked = select(License).where(License.id == license_id).with_for_update(key_share=True)
    return session.scalars(locked.execution_options(populate_existing=True)).one()
