"""Claim the invoices to check, and the settled ones whose license is missing."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, or_, update
from sqlalchemy.orm import Session

from keysat.invoices.schedule import JITTER, MAX_WAIT, REVERSAL_CHECK, REVERSAL_DAYS, next_check
from keysat.models import Invoice
from keysat.models.columns import seconds
from keysat.models.invoice_status import InvoiceStatus
from keysat.queue.claim import Claim, claim, release

# A buyer may ask for a check so often.
CHECK_AGAIN = timedelta(seconds=10)


def claim_unfulfilled(session: Session, limit: int) -> list[Claim]:
    """Claim settled invoices whose license is missing, regardless of the state of their provider account."""
    claimed = _claim(session, limit, Invoice.status == InvoiceStatus.SETTLED)
    return [Claim(row.row_id) for row in claimed]


def claim_due(session: Session, limit: int, account_id: UUID) -> list[Claim]:
    """Claim invoices of one account to check at the provider, longest overdue first."""
    return _claim(
        session, limit, and_(Invoice.provider_account_id == account_id, Invoice.status != InvoiceStatus.SETTLED)
    )


def claim_settled(session: Session, limit: int, account_id: UUID) -> list[Claim]:
    """Claim settled invoices of one account to check for reversed payments.

    The checks of an old one end only once an earlier claim, half a day ago or more, also found it too old, because a
    clock may be wrong.
    """
    end = Invoice.settled_at + REVERSAL_DAYS
    over = and_(end < func.now(), Invoice.last_checked_at.between(end, func.now() - REVERSAL_CHECK / 2))
    wait = seconds(REVERSAL_CHECK.total_seconds() * (1 - JITTER * func.random()))
    claimed = claim(
        session,
        Invoice.reversal_check_at,
        limit,
        case((over, None), else_=func.now() + wait),
        Invoice.provider_account_id == account_id,
        max_wait=MAX_WAIT,
        values=_COUNTED,
    )
    return [Claim(row.row_id, REVERSAL_CHECK.total_seconds() / 2) for row in claimed]


def claim_again(session: Session, invoice_id: UUID) -> Claim | None:
    """Claim an invoice that isn't due yet, because somebody waits for it. None if it was checked a moment ago.

    A settled one, and one that is no longer checked, isn't claimed. Its message may be lost, so it is due again when
    the message expires, or earlier if it was due earlier.
    """
    open_still = and_(Invoice.status != InvoiceStatus.SETTLED, Invoice.next_check_at.is_not(None))
    rested = or_(Invoice.last_checked_at.is_(None), Invoice.last_checked_at < func.now() - CHECK_AGAIN)
    soon = func.now() + CHECK_AGAIN
    due = case((Invoice.next_check_at > func.now(), func.least(Invoice.next_check_at, soon)), else_=soon)
    claimed = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, open_still, rested)
        .values({Invoice.next_check_at: due, **_COUNTED})
        .returning(Invoice.id)
    )
    return None if claimed is None else Claim(claimed, CHECK_AGAIN.total_seconds())


def release_invoices(session: Session, invoice_ids: list[UUID]) -> None:
    """Make claimed invoices due at once again."""
    release(session, Invoice.next_check_at, invoice_ids)


_COUNTED = {Invoice.check_count: Invoice.check_count + 1, Invoice.last_checked_at: func.now()}


def _claim(session: Session, limit: int, which: ColumnElement[bool]) -> list[Claim]:
    until = next_check(Invoice.status, Invoice.created_at)
    return claim(session, Invoice.next_check_at, limit, until, which, max_wait=MAX_WAIT, values=_COUNTED)
