"""The circuit breakers of a provider account: after consecutive failures, no process calls it for a while.

There is one for reading invoices and one for creating them: buyers choose what is created, and failed creates must not
block the reads of paid invoices. The state is in columns of the account's row, so all workers share it, the scan reads
it at no extra cost, and it outlives the broker. Open: `open_until` is in the future. Half open: it has passed, and one
call is allowed as a probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from keysat.models import ProviderAccount
from keysat.models.provider_account import FAILURES_TO_OPEN

COOL_DOWN = timedelta(seconds=30)
# The max Retry-After used. A provider may request an hour, but neither checks nor checkouts of buyers can wait so long.
MAX_RETRY_AFTER = timedelta(seconds=60)
# The time after which another purchase may be the probe.
_PROBE = timedelta(seconds=15)


@dataclass(frozen=True)
class CallableAccount:
    """An account that may be called. `probe`: its breaker is half open, so only one call is allowed."""

    account_id: UUID
    probe: bool


def callable_accounts(session: Session) -> list[CallableAccount]:
    """Return the accounts that are neither paused nor behind an open breaker for reads."""
    rows = session.execute(
        select(ProviderAccount.id, ProviderAccount.failure_count)
        .where(~ProviderAccount.resting(func.now()))
        .order_by(ProviderAccount.created_at)
    )
    return [CallableAccount(account_id, probe=failures >= FAILURES_TO_OPEN) for account_id, failures in rows]


def record_failure(
    session: Session, account_id: UUID, error: str, retry_after: float | None, invoice_id: UUID | None = None
) -> None:
    """Record a failed read. `retry_after`, in seconds, opens the breaker at once.

    Consecutive failures of the same invoice are counted once: an invoice whose reads always fail backs off by its own
    schedule and doesn't block the account.
    """
    another_invoice = ProviderAccount.failed_invoice_id.is_distinct_from(invoice_id)
    failures = ProviderAccount.failure_count + (case((another_invoice, 1), else_=0) if invoice_id else 1)
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id)
        .values(
            failure_count=failures,
            failed_invoice_id=invoice_id,
            open_until=_rest(ProviderAccount.open_until, failures, retry_after),
            last_error=error,
        )
    )


def record_success(session: Session, account_id: UUID) -> None:
    """Close the breaker for reads."""
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ProviderAccount.failure_count > 0)
        .values(failure_count=0, open_until=None, last_error=None, failed_invoice_id=None)
    )


def record_create_failure(session: Session, account_id: UUID, error: str, retry_after: float | None) -> None:
    """Record a failed create. `retry_after`, in seconds, opens the breaker at once."""
    failures = ProviderAccount.create_failure_count + 1
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id)
        .values(
            create_failure_count=failures,
            create_open_until=_rest(ProviderAccount.create_open_until, failures, retry_after),
            create_last_error=error,
        )
    )


def record_create_success(session: Session, account_id: UUID) -> None:
    """Close the breaker for creates."""
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ProviderAccount.create_failure_count > 0)
        .values(create_failure_count=0, create_open_until=None, create_last_error=None)
    )


def may_create(session: Session, account_id: UUID) -> bool:
    """Whether an invoice may be created now. With a half-open breaker, one purchase at a time is the probe."""
    closed = ProviderAccount.create_failure_count < FAILURES_TO_OPEN
    allowed = session.scalar(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ~closed, ~ProviderAccount.create_breaker_open(func.now()))
        .values(create_open_until=func.now() + _PROBE)
        .returning(ProviderAccount.id)
    )
    free = select(ProviderAccount.id).where(
        ProviderAccount.id == account_id, and_(closed, ~ProviderAccount.create_breaker_open(func.now()))
    )
    return allowed is not None or session.scalar(free) is not None


def _rest(
    until: InstrumentedAttribute[datetime | None], failures: ColumnElement[int], retry_after: float | None
) -> ColumnElement[datetime]:
    """Return when the breaker closes. GREATEST ignores NULL, so a stored later time is never shortened."""
    cool_down = case((failures >= FAILURES_TO_OPEN, func.now() + COOL_DOWN), else_=None)
    asked = None if retry_after is None else func.now() + min(timedelta(seconds=min(retry_after, 1e6)), MAX_RETRY_AFTER)
    return func.greatest(until, cool_down, asked)
