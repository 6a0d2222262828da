"""Stop the grace period of licenses whose renewal can't be paid: while the account can't sell, or we don't run.

The record is that of the breakers and of the scans. Each run credits the time since the run before, once, in the
transaction that notes the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, literal, or_, select, true, update
from sqlalchemy.orm import Session

from keysat.accounts.selling import accounts_down
from keysat.models import License, Product, Subscription, TaskRun
from keysat.models.columns import seconds
from keysat.models.license import LicenseStatus
from keysat.models.task_run import note_run

RUN = "scan_subscriptions"
# A longer time between two runs is an outage of ours. Runs are a minute apart.
MAX_GAP = timedelta(minutes=5)
# During an outage a license is valid until well after the next run, so that it doesn't lapse between two of them.
_AHEAD = timedelta(minutes=10)


def credit_outages(session: Session) -> int:
    """Lengthen the grace period of licenses by the time in which nobody could renew them. Returns how many.

    Nothing is credited for the first run, and for a run before which the clock was set back.
    """
    before = session.scalar(select(TaskRun.last_run_at).where(TaskRun.name == RUN).with_for_update())
    note_run(session, RUN)
    now = session.scalars(select(func.now())).one()
    if before is None or before >= now:
        return 0
    stopped = true() if now - before > MAX_GAP else _cannot_be_paid(session)
    return 0 if stopped is None else _credit(session, before, now, stopped)


def _cannot_be_paid(session: Session) -> ColumnElement[bool] | None:
    """Return the condition that a subscription's account can't sell now, or None if all can."""
    down, all_ranked = accounts_down(session)
    if not down and not all_ranked:
        return None
    account_id = func.coalesce(Subscription.provider_account_id, Product.provider_account_id)
    return or_(account_id.in_(down), account_id.is_(None) if all_ranked else literal(value=False))


def _credit(session: Session, before: datetime, now: datetime, stopped: ColumnElement[bool]) -> int:
    end = License.expires_at + seconds(License.grace_seconds + License.outage_seconds)
    since = func.greatest(License.expires_at, before)
    elapsed = func.ceil(func.extract("epoch", now - since))
    # A credit beyond the elapsed time was given ahead, and counts as a part of it.
    ahead = func.ceil(func.extract("epoch", now + _AHEAD - end))
    gone = License.outage_seconds + func.greatest(elapsed, ahead)
    credited = session.scalars(
        update(License)
        .where(
            *(License.is_recurring, License.status == LicenseStatus.ACTIVE, License.expires_at <= now, end > before),
            *(Subscription.license_id == License.id, Product.id == License.product_id, stopped),
        )
        .values(outage_seconds=gone)
        .returning(License.id)
    )
    return len(credited.all())
