"""Carry out a person's decision about an invoice: settle it, dismiss its review, or acknowledge its failed checks."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, ColumnExpressionArgument, and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.core.errors import Conflict, InvalidInput, NotFound
from keysat.core.hints import Hint
from keysat.core.texts import check_note
from keysat.invoices.schedule import UNFULFILLED
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.queue.outbox import EventType, emit_invoice
from keysat.settlement.rest import lock_family, release_rests


def settle_by_hand(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
    """Settle an invoice by hand, regardless of the provider status. Its license is pending from now on.

    Raises:
        InvalidInput: the note is empty.
        NotFound: no such invoice.
        Conflict: it is settled already, and neither a review nor a reversal blocks its license.
    """
    require_note(note)
    _update(
        session,
        invoice_id,
        or_(Invoice.status != InvoiceStatus.SETTLED, and_(~Invoice.fulfilled, Invoice.license_withheld)),
        "is settled already",
        status=InvoiceStatus.SETTLED,
        settled_at=func.coalesce(Invoice.settled_at, func.now()),
        settled_by_hand=True,
        reversed_at=None,
        exception=case(
            (Invoice.exception == PaymentException.NONE, PaymentException.MARKED.value),
            else_=Invoice.exception,
        ),
        review_resolved_at=case((Invoice.review_reason.is_not(None), func.now()), else_=None),
        next_check_at=func.now() + UNFULFILLED,
        final_check_at=None,
        last_error=None,
        error_count=0,
    )
    emit_invoice(session, EventType.INVOICE_SETTLED, invoice_id)
    audit(session, actor, "invoice.settled", invoice_id, note=note, by_hand=True)


def dismiss(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
    """Close the review of an invoice without issuing a license, for example after a manual refund.

    If the review blocked the license of a settled invoice, the invoice is marked as reversed. The rests that were
    credited to an invoice without a license go to review.

    Raises:
        InvalidInput: the note is empty.
        NotFound: no such invoice.
        Conflict: it is not in review.
    """
    require_note(note)
    lock_family(session, invoice_id)
    _update(
        session,
        invoice_id,
        Invoice.in_review,
        "is not in review",
        review_resolved_at=func.now(),
        reversed_at=case((_held_back(), func.now()), else_=Invoice.reversed_at),
        # The decision is final: the next provider status about this payment opens no new review.
        reviewed=case(
            (_held_back(), func.array_append(Invoice.reviewed, ReviewReason.SETTLED_AGAIN)), else_=Invoice.reviewed
        ),
    )
    cancel(session, invoice_id, actor)
    audit(session, actor, "invoice.review_dismissed", invoice_id, note=note)
    counts = and_(Invoice.status == InvoiceStatus.SETTLED, ~Invoice.reversed)
    if not session.scalar(select(counts).where(Invoice.id == invoice_id)):
        release_rests(session, invoice_id, actor)


def acknowledge(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
    """Acknowledge that the checks of an invoice fail, for example because it was lost. They go on without an alarm.

    Raises:
        InvalidInput: the note is empty.
        NotFound: no such invoice.
        Conflict: its last check succeeded.
    """
    require_note(note)
    failing = Invoice.error_count > 0
    _update(session, invoice_id, failing, "got a usable response at its last check", acknowledged_at=func.now())
    audit(session, actor, "invoice.acknowledged", invoice_id, note=note)


def _held_back() -> ColumnElement[bool]:
    settled = and_(Invoice.status == InvoiceStatus.SETTLED, ~Invoice.reversed)
    return and_(settled, ~Invoice.fulfilled, Invoice.in_review)


def _update(
    session: Session, invoice_id: UUID, allowed: ColumnExpressionArgument[bool], refusal: str, **values: object
) -> None:
    changed = session.scalar(
        update(Invoice).where(Invoice.id == invoice_id, allowed).values(values).returning(Invoice.id)
    )
    if changed is None:
        if session.get(Invoice, invoice_id) is None:
            raise NotFound("invoice", invoice_id, Hint.LIST_INVOICES)
        raise Conflict(f"invoice {invoice_id} {refusal}.")


def require_note(note: str) -> None:
    """Raise InvalidInput if the note is empty."""
    if not check_note(note).strip():
        raise InvalidInput("say why, for the audit log.", Hint.GIVE_NOTE)
