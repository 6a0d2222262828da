"""Credit the rest of a short payment to the invoice that it completes, and take the credit back.

A buyer who paid too little pays what is missing with a second invoice, the rest. Once it settles, its amount counts for
the first invoice, which is checked again and settles if both together pay its price. The rest itself gets no license.

A credit is taken back if the payment of the rest goes back, and if the first invoice is reversed or dismissed. In the
second case a person decides about the money of the rest.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from keysat.invoices.rest import waits_for_rest
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.settlement.review import open_review


def lock_family(session: Session, invoice_id: UUID) -> None:
    """Lock an invoice, all that it completes, and all rests of those, the youngest first, as `credit` does.

    Whoever locks more than one of them locks them in this order, so that there are no deadlocks.
    """
    up = select(Invoice.id, Invoice.rest_of_id).where(Invoice.id == invoice_id).cte("up", recursive=True)
    up = up.union_all(select(Invoice.id, Invoice.rest_of_id).join(up, Invoice.id == up.c.rest_of_id))
    family = select(up.c.id).where(up.c.rest_of_id.is_(None)).cte("family", recursive=True)
    rest = aliased(Invoice)
    family = family.union_all(select(rest.id).join(family, rest.rest_of_id == family.c.id))
    session.execute(
        select(Invoice.id).where(Invoice.id.in_(select(family.c.id))).order_by(Invoice.id.desc()).with_for_update()
    )


def credit(session: Session, rest: Invoice, actor: str) -> None:
    """Credit a settled rest, once. Its row is locked.

    It goes to review if the other invoice settled without it, or if a person decided about that one's money.
    """
    if rest.credited is not None:
        return
    completed = _completed_by(session, rest)
    if waits_for_rest(completed) or rest.settled_by_hand:
        _credit(session, rest, completed, actor)
    else:
        open_review(session, rest.id, ReviewReason.EXCESS, actor)


def take_back(session: Session, rest_id: UUID) -> Invoice | None:
    """Take back the credit of a rest. Return the invoice that it counted for, or None if it wasn't credited."""
    rest = _read(session, rest_id)
    if rest.credited is None:
        return None
    completed = _completed_by(session, rest)
    completed.rest_paid -= rest.credited
    rest.credited = rest.fulfilled_at = None
    session.flush()
    return completed


def release_rests(session: Session, invoice_id: UUID, actor: str) -> None:
    """Take back the credits of all rests of an invoice that gets no license, and open a review of each one's money.

    The family is locked.
    """
    credited = select(Invoice.id).where(Invoice.rest_of_id == invoice_id, Invoice.credited.is_not(None))
    for rest_id in session.scalars(credited.order_by(Invoice.id)).all():
        take_back(session, rest_id)
        open_review(session, rest_id, ReviewReason.EXCESS, actor)


def credit_again(session: Session, invoice_id: UUID, actor: str) -> None:
    """Credit the rests that a reversal released, since it was undone. That ends their reviews.

    A rest beyond the price stays in review. The family is locked.
    """
    completed = _read(session, invoice_id)
    released = select(Invoice).where(
        *(Invoice.rest_of_id == invoice_id, Invoice.status == InvoiceStatus.SETTLED, ~Invoice.reversed),
        *(Invoice.in_review, Invoice.review_reason == ReviewReason.EXCESS),
    )
    rests = released.order_by(Invoice.id).execution_options(populate_existing=True)
    for rest in session.scalars(rests).all():
        if completed.came_in + completed.rest_paid < completed.amount:
            rest.review_resolved_at = func.now()
            _credit(session, rest, completed, actor)


def _credit(session: Session, rest: Invoice, completed: Invoice, actor: str) -> None:
    amount = _worth(rest)
    completed.rest_paid += amount
    if completed.status != InvoiceStatus.SETTLED:
        completed.next_check_at = func.now()
    rest.credited, rest.fulfilled_at, rest.next_check_at = amount, func.now(), None
    session.flush()
    audit(session, actor, "invoice.rest_paid", completed.id, rest_id=str(rest.id), amount=amount)


def _worth(rest: Invoice) -> int:
    """Return what a settled rest counts for, in the smallest unit: its price, or what came in if that is less."""
    if rest.settled_by_hand or rest.exception == PaymentException.MARKED:
        return rest.amount
    return min(rest.amount, rest.came_in + rest.rest_paid)


def _completed_by(session: Session, rest: Invoice) -> Invoice:
    assert rest.rest_of_id is not None
    return _read(session, rest.rest_of_id)


def _read(session: Session, invoice_id: UUID) -> Invoice:
    """Read an invoice under a lock, as it is now."""
    return session.scalars(
        select(Invoice).where(Invoice.id == invoice_id).with_for_update().execution_options(populate_existing=True)
    ).one()
