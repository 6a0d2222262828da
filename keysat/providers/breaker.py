"""The circuit breaker of a provider account: after failures in a row, nobody calls for a while.

Its state is two columns of the account's row, so all workers share it, the scan reads it for nothing, and it outlives
the broker. Open: `open_until` lies ahead. Half open: it has passed, and one invoice is let through as a probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.orm import Session

from keysat.models import ProviderAccount
from keysat.models.provider_account import MAX_REST, resting

FAILURES_TO_OPEN = 5
COOL_DOWN = timedelta(seconds=30)


@dataclass(frozen=True)
class Callable:
    """An account that may be called; `probe` when its breaker is half open and one call has to suffice."""

    account_id: UUID
    probe: bool


def callable_accounts(session: Session) -> list[Callable]:
    """The accounts that are neither paused nor behind an open breaker."""
    rows = session.execute(
        select(ProviderAccount.id, ProviderAccount.failure_count).where(~resting()).order_by(ProviderAccount.created_at)
    )
    return [Callable(account_id, probe=failures >= FAILURES_TO_OPEN) for account_id, failures in rows]


def record_failure(session: Session, account_id: UUID, error: str, retry_after: float | None) -> None:
    """Count a failed call. The provider's own wish to be left alone, in seconds, opens the breaker at once."""
    failures = ProviderAccount.failure_count + 1
    cool_down = case((failures >= FAILURES_TO_OPEN, func.now() + COOL_DOWN), else_=None)
    wish = None if retry_after is None else func.now() + min(timedelta(seconds=min(retry_after, 1e6)), MAX_REST)
    # GREATEST passes over NULL; a rest that was agreed on before is never shortened.
    rest: ColumnElement[datetime] = func.greatest(ProviderAccount.open_until, cool_down, wish)
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id)
        .values(failure_count=failures, open_until=rest, last_error=error)
    )


def record_success(session: Session, account_id: UUID) -> None:
    """Close the breaker again."""
    session.execute(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ProviderAccount.failure_count > 0)
        .values(failure_count=0, open_until=None, last_error=None)
    )


def is_open(open_until: datetime | None, now: datetime) -> bool:
    """Whether nobody may call at `now`, which is the database's time."""
    return open_until is not None and now < open_until <= now + MAX_REST
