"""Select the accounts to sweep, and begin or resume a sweep."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict
from keysat.models import Invoice, ProviderAccount, Sweep
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.registry import adapter_of, kinds

LEASE = timedelta(seconds=60)
# Provider clocks differ from ours, and an invoice may have been created just before its row.
_MARGIN = timedelta(minutes=5)
_MANY, _LONG = 50, timedelta(minutes=10)


def backlogged(session: Session, limit: int) -> list[UUID]:
    """Return the accounts to sweep instead of checking invoice by invoice.

    These have at least `limit` overdue checks, or fewer (at least 50) that include one overdue for 10 minutes, as after
    an outage. Accounts that are paused or behind an open breaker, or whose provider can't list invoices, are excluded.
    """
    count, oldest = func.count(), func.min(Invoice.next_check_at)
    much = or_(count >= limit, and_(count >= _MANY, oldest < func.now() - _LONG))
    able = [kind for kind in kinds() if adapter_of(kind).lists_invoices]
    return list(
        session.scalars(
            select(ProviderAccount.id)
            .join(Invoice, Invoice.provider_account_id == ProviderAccount.id)
            .where(ProviderAccount.kind.in_(able), ~ProviderAccount.resting(func.now()))
            .where(Invoice.next_check_at <= func.now(), Invoice.status != InvoiceStatus.SETTLED)
            .group_by(ProviderAccount.id)
            .having(much)
        )
    )


def begin_sweep(session: Session, account: ProviderAccount, since: datetime | None, *, restart: bool = False) -> Sweep:
    """Resume the interrupted sweep of an account, or begin a new one.

    Without `since`, a new sweep begins at the oldest invoice that is still checked.

    Raises:
        Conflict: another process is sweeping this account.
    """
    unfinished = select(Sweep).where(Sweep.provider_account_id == account.id, ~Sweep.finished)
    sweep = session.scalar(unfinished.with_for_update())
    now = session.scalars(select(func.now())).one()
    if sweep is not None and sweep.leased_until is not None and now < sweep.leased_until <= now + LEASE:
        raise Conflict(f"account {account.name} is being swept at this moment.")
    if sweep is not None and (restart or since is not None):
        sweep.finished_at = now
        session.flush()
        sweep = None
    if sweep is None:
        watched = Invoice.provider_account_id == account.id, Invoice.next_check_at.is_not(None)
        oldest = since or session.scalar(select(func.min(Invoice.created_at)).where(*watched)) or now
        sweep = Sweep(provider_account_id=account.id, since=oldest - _MARGIN, next_until=now + _MARGIN)
        session.add(sweep)
    sweep.leased_until = now + LEASE
    session.flush()
    session.refresh(sweep)
    return sweep
