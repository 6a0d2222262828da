"""Credit the rest of a short payment to the invoice that it completes.

A buyer who paid too little pays what is missing with a second invoice, the rest. Once it settles, its amount counts for
the first invoice, which is checked again and settles if both together pay its price. The rest itself gets no license.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.invoices.rest import waits_for_rest
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.queue.outbox import EventType, emit_invoice


def credit(session: Session, rest: Invoice, actor: str) -> None:
    """Credit a settled rest, once. Its row is locked.

    It goes to review if the other invoice settled without it, or if a person decided about that one's money.
    """
    if rest.fulfilled:
        return
    completed = session.execute(
        select(Invoice).where(Invoice.id == rest.rest_of_id).with_for_update().execution_options(populate_existing=True)
    ).scalar_one()
    if not waits_for_rest(completed) and not rest.settled_by_hand:
        _open_review(session, rest.id, actor)
        return
    amount = credit_of(rest)
    completed.rest_paid += amount
    if completed.status != InvoiceStatus.SETTLED:
        completed.next_check_at = func.now()
    rest.fulfilled_at, rest.next_check_at = func.now(), None
    session.flush()
    audit(session, actor, "invoice.rest_paid", completed.id, rest_id=str(rest.id), amount=amount)


def credit_of(rest: Invoice) -> int:
    """Return what a settled rest counts for, in the smallest unit: its price, or what came in if that is less."""
    if rest.settled_by_hand or rest.exception == PaymentException.MARKED:
        return rest.amount
    return min(rest.amount, rest.came_in + rest.rest_paid)


def take_back(session: Session, rest: Invoice) -> UUID | None:
    """Take back the credit of a rest whose payment went back. Return the invoice it had completed, if it was credited.

    The caller reverses that invoice.
    """
    if rest.rest_of_id is None or not rest.fulfilled:
        return None
    left = func.greatest(0, Invoice.rest_paid - credit_of(rest))
    session.execute(update(Invoice).where(Invoice.id == rest.rest_of_id).values(rest_paid=left))
    return rest.rest_of_id


def lock_rests(session: Session, invoice_id: UUID) -> list[UUID]:
    """Lock the credited rests of an invoice, before the invoice itself is locked. Return their ids."""
    credited = select(Invoice.id).where(Invoice.rest_of_id == invoice_id, Invoice.fulfilled, ~Invoice.reversed)
    return list(session.scalars(credited.with_for_update()))


def review_rests(session: Session, rest_ids: list[UUID], actor: str) -> None:
    """Open a review for the rests of an invoice whose license was withdrawn: their money stands for nothing now."""
    for rest_id in rest_ids:
        _open_review(session, rest_id, actor)


def _open_review(session: Session, rest_id: UUID, actor: str) -> None:
    reason = ReviewReason.EXCESS
    opened = session.scalar(
        update(Invoice)
        .where(Invoice.id == rest_id, ~Invoice.reviewed.contains([reason]), ~Invoice.reversed)
        .values(
            review_reason=reason,
            reviewed=func.array_append(Invoice.reviewed, reason),
            review_opened_at=func.now(),
            review_resolved_at=None,
            next_check_at=None,
        )
        .returning(Invoice.id)
    )
    if opened is not None:
        emit_invoice(session, EventType.INVOICE_REVIEW_NEEDED, rest_id)
        audit(session, actor, EventType.INVOICE_REVIEW_NEEDED, rest_id, review=reason)
