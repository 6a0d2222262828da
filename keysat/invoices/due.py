"""Claiming: which invoices are due, taken and pushed forward in one statement.

A claimed row is due again only at its pushed time, and the message to look at it expires then. So two scans at once
share the work, a lost message is sent again by itself, and no invoice has more than one live message to ask about it:
no lock outlives the statement, and nothing needs cleaning up.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, and_, extract, func, or_, select, update
from sqlalchemy.orm import Session

from keysat.claims import Claim
from keysat.invoices.schedule import next_check
from keysat.models import Invoice
from keysat.models.invoice import InvoiceStatus


def claim_unfulfilled(session: Session, limit: int) -> list[Claim]:
    """Take settled invoices whose license is missing, whatever the state of their provider account."""
    return [Claim(one.row_id) for one in _claim(session, Invoice.status == InvoiceStatus.SETTLED, limit)]


def claim_due(session: Session, limit: int, account_id: UUID) -> list[Claim]:
    """Take invoices of one account that the provider should be asked about, longest due first."""
    of_account = and_(Invoice.provider_account_id == account_id, Invoice.status != InvoiceStatus.SETTLED)
    return _claim(session, of_account, limit)


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
    return [Claim(invoice_id, float(seconds)) for invoice_id, seconds in claimed]


def release(session: Session, invoice_ids: list[UUID]) -> None:
    """Give claimed invoices back, due at once, because nobody could be told of them."""
    session.execute(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids))
        .where(or_(Invoice.status != InvoiceStatus.SETTLED, Invoice.next_check_at.is_not(None)))
        .values(next_check_at=func.now())
        .execution_options(synchronize_session=False)
    )
