"""Claiming: which invoices are due, taken and pushed forward in one statement.

A claimed row is due again only at its pushed time, and the message to look at it expires then. So two scans at once
share the work, a lost message is sent again by itself, and no invoice has more than one live message to ask about it:
no lock outlives the statement, and nothing needs cleaning up.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, extract, func, or_, select, update
from sqlalchemy.orm import Session

from keysat.invoices.schedule import JITTER, MAX_WAIT, REVERSAL_CHECK, REVERSAL_DAYS, next_check
from keysat.models import Invoice
from keysat.models.columns import seconds
from keysat.models.invoice import InvoiceStatus
from keysat.queue.claim import Claim, pull_back


def claim_unfulfilled(session: Session, limit: int) -> list[Claim]:
    """Take settled invoices whose license is missing, whatever the state of their provider account."""
    settled = Invoice.status == InvoiceStatus.SETTLED
    pull_back(session, Invoice.next_check_at, MAX_WAIT, settled)
    return [Claim(claim.row_id) for claim in _claim(session, settled, limit)]


def claim_due(session: Session, limit: int, account_id: UUID) -> list[Claim]:
    """Take invoices of one account that the provider should be asked about, longest due first."""
    of_account = and_(Invoice.provider_account_id == account_id, Invoice.status != InvoiceStatus.SETTLED)
    pull_back(session, Invoice.next_check_at, MAX_WAIT, of_account)
    return _claim(session, of_account, limit)


def claim_settled(session: Session, limit: int, account_id: UUID) -> list[Claim]:
    """Take settled invoices of one account that should be checked for money that went back.

    One that settled long ago is checked no more once a claim a day before found it so, too: a clock may be wrong.
    """
    of_account = Invoice.provider_account_id == account_id
    pull_back(session, Invoice.reversal_check_at, MAX_WAIT, of_account)
    due = (
        select(Invoice.id)
        .where(of_account, Invoice.reversal_check_at <= func.now())
        .order_by(Invoice.reversal_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    end = Invoice.settled_at + REVERSAL_DAYS
    over = and_(end < func.now(), Invoice.last_checked_at.between(end, func.now() - REVERSAL_CHECK / 2))
    wait = seconds(REVERSAL_CHECK.total_seconds() * (1 - JITTER * func.random()))
    claimed = session.scalars(
        update(Invoice)
        .where(Invoice.id == due.c.id)
        .values(
            reversal_check_at=case((over, None), else_=func.now() + wait),
            check_count=Invoice.check_count + 1,
            last_checked_at=func.now(),
        )
        .returning(Invoice.id)
        .execution_options(synchronize_session=False)
    )
    return [Claim(invoice_id, REVERSAL_CHECK.total_seconds() / 2) for invoice_id in claimed]


def _claim(session: Session, which: ColumnElement[bool], limit: int) -> list[Claim]:
    due = (
        select(Invoice.id)
        .where(which, Invoice.next_check_at.is_not(None), Invoice.next_check_at <= func.now())
        .order_by(Invoice.next_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = session.execute(
        update(Invoice)
        .where(Invoice.id == due.c.id)
        .values(
            next_check_at=next_check(Invoice.status, Invoice.created_at),
            check_count=Invoice.check_count + 1,
            last_checked_at=func.now(),
        )
        .returning(Invoice.id, extract("epoch", Invoice.next_check_at - func.now()))
        .execution_options(synchronize_session=False)
    )
    return [Claim(invoice_id, float(wait)) for invoice_id, wait in claimed]


def release(session: Session, invoice_ids: list[UUID]) -> None:
    """Give claimed invoices back, due at once, because nobody could be told of them."""
    session.execute(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids))
        .where(or_(Invoice.status != InvoiceStatus.SETTLED, Invoice.next_check_at.is_not(None)))
        .values(next_check_at=func.now())
        .execution_options(synchronize_session=False)
    )
