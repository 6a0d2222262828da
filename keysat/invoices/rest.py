"""The invoices that complete a short payment: what is missing, and which one a buyer is at."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from keysat.core.money import DECIMALS, Money
from keysat.invoices.draft import IN_PROGRESS
from keysat.models import Invoice
from keysat.models.holders import purchase_of
from keysat.models.invoice_status import InvoiceStatus, ReviewReason

_SHORT = {ReviewReason.UNDERPAID, ReviewReason.AMOUNT}
# The reviews of a rest whose money counts for nothing: always, and once the purchase needs no rest.
_EXCESS = {ReviewReason.EXCESS}
_IN_VAIN = {*_EXCESS, *_SHORT, ReviewReason.LATE}


def waits_for_rest(invoice: Invoice) -> bool:
    """Whether an invoice was paid too little, and no person has decided about it yet."""
    return invoice.status != InvoiceStatus.SETTLED and invoice.in_review and invoice.review_reason in _SHORT


def waits_for_confirmation(invoice: Invoice) -> bool:
    """Whether a payment was seen that may be the whole price, so that the invoice isn't paid again. A part is none."""
    in_part = 0 < (invoice.paid_amount or 0) + invoice.rest_paid < invoice.amount
    return invoice.status == InvoiceStatus.PENDING and invoice.payment_seen_at is not None and not in_part


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

    It is itself, too, once it is settled or a person decided about its money, as no rest counts for it then. A rest
    that isn't at the provider yet, though no process is at work on it any more, is asked for again.
    """
    if not waits_for_rest(invoice):
        return invoice
    opened = or_(Invoice.provider_invoice_id.is_not(None), Invoice.asked_at > func.now() - IN_PROGRESS)
    waits = or_(
        and_(Invoice.status == InvoiceStatus.PENDING, opened),
        Invoice.license_due,
        and_(Invoice.in_review, Invoice.review_reason.not_in(_EXCESS)),
    )
    rest = session.scalars(
        select(Invoice).where(Invoice.rest_of_id == invoice.id, waits).order_by(Invoice.created_at.desc()).limit(1)
    ).first()
    return invoice if rest is None else current_of(session, rest)


def short_of(session: Session, invoice: Invoice) -> Invoice:
    """Return the invoice of a purchase whose missing part its buyer pays, or may pay next."""
    current = current_of(session, purchase_of(session, invoice))
    if current.rest_of_id is None or current.status != InvoiceStatus.PENDING or waits_for_rest(current):
        return current
    return session.get_one(Invoice, current.rest_of_id)


def excess_of(session: Session, purchase: Invoice) -> int:
    """Return what was paid for rests of a purchase, or for theirs, and counts for nothing, in the smallest unit.

    A person decides about it.
    """
    below = select(Invoice.id).where(Invoice.rest_of_id == purchase.id).cte("below", recursive=True)
    below = below.union_all(select(Invoice.id).join(below, Invoice.rest_of_id == below.c.id))
    rests = session.scalars(select(Invoice).where(Invoice.id.in_(select(below.c.id)))).all()
    return _excess(purchase, rests, needed=True)


def _excess(invoice: Invoice, rests: Sequence[Invoice], *, needed: bool) -> int:
    """Sum up the rests below an invoice. `needed`: whether what it still lacks may be paid."""
    needed = needed and waits_for_rest(invoice)
    reasons, excess = _EXCESS if needed else _IN_VAIN, 0
    for rest in rests:
        if rest.rest_of_id == invoice.id:
            uncounted = rest.in_review and rest.review_reason in reasons
            excess += (_arrived(rest) if uncounted else 0) + _excess(rest, rests, needed=needed)
    return excess


def _arrived(rest: Invoice) -> int:
    paid = rest.came_in if rest.status == InvoiceStatus.SETTLED else rest.paid_amount or 0
    return paid + rest.rest_paid


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
