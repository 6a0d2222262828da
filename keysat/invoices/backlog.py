"""Count the backlog of invoices: due, late, in review, unfulfilled, abandoned. `keysat status` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, ColumnExpressionArgument, and_, case, func, or_, select
from sqlalchemy.orm import Session

from keysat.models import Invoice, ProviderAccount
from keysat.models.invoice_status import InvoiceStatus

LATE_AFTER = timedelta(minutes=2)


@dataclass(frozen=True)
class AccountStatus:
    """The status of an account: whether it can be called, and how many of its invoices need a check."""

    name: str
    kind: str
    paused_at: datetime | None
    pause_reason: str | None
    rejected: bool
    open_until: datetime | None
    failure_count: int
    last_error: str | None
    due: int


@dataclass(frozen=True)
class Backlog:
    """Counts of invoices at one moment.

    - `due`: to be checked now.
    - `late`: to be checked two minutes ago or earlier and not claimed, though their account can be called.
    - `unfulfilled`: settled without a license. `overdue_licenses` have been so for over two minutes.
    - `abandoned`: unpaid after 30 days of checks, and no longer checked.
    - `failing`: the last check got no usable response.
    """

    pending: int
    due: int
    late: int
    oldest_due_at: datetime | None
    review: int
    unfulfilled: int
    overdue_licenses: int
    failing: int
    abandoned: int
    accounts: tuple[AccountStatus, ...]

    @property
    def trouble(self) -> bool:
        """Whether anything here needs a person."""
        stuck = any(account.paused_at or account.open_until for account in self.accounts)
        return bool(self.late or self.review or self.overdue_licenses or self.failing or stuck)


def _claimable() -> ColumnElement[bool]:
    return or_(
        Invoice.status == InvoiceStatus.SETTLED,
        Invoice.provider_account_id.not_in(select(ProviderAccount.id).where(ProviderAccount.resting(func.now()))),
    )


def read_backlog(session: Session) -> Backlog:
    """Count the backlog, in one pass over the invoices that are still checked and one over the others."""
    due = Invoice.next_check_at <= func.now()
    row = session.execute(
        select(
            func.count().filter(Invoice.status == InvoiceStatus.PENDING).label("pending"),
            func.count().filter(due).label("due"),
            func.count().filter(Invoice.next_check_at <= func.now() - LATE_AFTER, _claimable()).label("late"),
            func.min(Invoice.next_check_at).filter(due).label("oldest_due_at"),
            func.count().filter(Invoice.status == InvoiceStatus.SETTLED).label("unfulfilled"),
            func.count().filter(Invoice.failing).label("failing"),
            func.count().filter(Invoice.settled_at <= func.now() - LATE_AFTER).label("overdue_licenses"),
        ).where(Invoice.next_check_at.is_not(None))
    ).one()
    return Backlog(
        **row._asdict(),
        review=_count(session, Invoice.in_review),
        abandoned=_count(session, Invoice.abandoned),
        accounts=tuple(_accounts(session)),
    )


def _count(session: Session, which: ColumnExpressionArgument[bool]) -> int:
    return session.scalar(select(func.count()).select_from(Invoice).where(which)) or 0


def _accounts(session: Session) -> list[AccountStatus]:
    due = and_(
        Invoice.provider_account_id == ProviderAccount.id,
        Invoice.status != InvoiceStatus.SETTLED,
        Invoice.next_check_at <= func.now(),
    )
    waiting = select(func.count()).select_from(Invoice).where(due).scalar_subquery()
    open_until = case((ProviderAccount.breaker_open(func.now()), ProviderAccount.open_until), else_=None)
    rows = session.execute(
        select(
            ProviderAccount.name,
            ProviderAccount.kind,
            ProviderAccount.paused_at,
            ProviderAccount.pause_reason,
            ProviderAccount.rejected.label("rejected"),
            open_until.label("open_until"),
            ProviderAccount.failure_count,
            ProviderAccount.last_error,
            waiting.label("due"),
        ).order_by(ProviderAccount.name)
    )
    return [AccountStatus(**row._asdict()) for row in rows]
