"""The invoices that complete a short payment: what is missing, and which one a buyer is at."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from keysat.core.money import DECIMALS, Money
from keysat.invoices.draft import IN_PROGRESS
from keysat.models import Invoice
from keysat.models.holders import purchase_of
from keysat.models.invoice_status import InvoiceStatus, ReviewReason

_SHORT = {ReviewReason.UNDERPAID, ReviewReason.AMOUNT}


def waits_for_rest(invoice: Invoice) -> bool:
    """Whether an invoice was paid too little, and no person has decided about it yet."""
    return invoice.status != InvoiceStatus.SETTLED and invoice.in_review and invoice.review_reason in _SHORT


def missing_of(invoice: Invoice) -> Money | None:
    """Return what a buyer may still pay of an invoice that was paid too little, or None.

    None also if it is unknown how much came in, or in a currency that only another version charges.
    """
    if not waits_for_rest(invoice) or not invoice.paid_amount or invoice.currency not in DECIMALS:
        return None
    missing = invoice.amount - invoice.paid_amount - invoice.rest_paid
    return Money(missing, invoice.currency) if missing > 0 else None


def current_of(session: Session, invoice: Invoice) -> Invoice:
    """Return the invoice that decides how a purchase goes on: its newest rest that isn't over, or else itself.

    A rest that isn't at the provider yet, though no process is at work on it any more, is asked for again.
    """
    if invoice.status == InvoiceStatus.SETTLED:
        return invoice
    opened = or_(Invoice.provider_invoice_id.is_not(None), Invoice.asked_at > func.now() - IN_PROGRESS)
    waits = or_(
        and_(Invoice.status == InvoiceStatus.PENDING, opened),
        and_(Invoice.status == InvoiceStatus.SETTLED, ~Invoice.fulfilled),
        Invoice.in_review,
    )
    rest = session.scalars(
        select(Invoice).where(Invoice.rest_of_id == invoice.id, waits).order_by(Invoice.created_at.desc()).limit(1)
    ).first()
    return invoice if rest is None else current_of(session, rest)


def short_of(session: Session, invoice: Invoice) -> Invoice:
    """Return the invoice of a purchase whose missing part its buyer pays, or may pay next."""
    current = current_of(session, purchase_of(session, invoice))
    if current.rest_of_id is None or current.status != InvoiceStatus.PENDING:
        return current
    return session.get_one(Invoice, current.rest_of_id)


def excess_of(session: Session, invoice: Invoice) -> int:
    """Return what was paid for the rests of an invoice that it needs no more, in the smallest unit."""
    rests = select(Invoice).where(Invoice.rest_of_id == invoice.id, Invoice.in_review)
    excess = rests.where(Invoice.review_reason == ReviewReason.EXCESS)
    return sum(rest.came_in + rest.rest_paid for rest in session.scalars(excess))


def pending_rest(session: Session, invoice_id: UUID, price: Money) -> Invoice | None:
    """Return the rest of an invoice that can still be paid at this price, or None."""
    return session.scalars(
        select(Invoice)
        .where(
            Invoice.rest_of_id == invoice_id, Invoice.status == InvoiceStatus.PENDING, Invoice.amount == price.amount
        )
        .order_by(Invoice.created_at.desc())
        .limit(1)
    ).first()
