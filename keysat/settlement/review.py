"""Open a review of an invoice, so that a person decides about its money."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import case, func, update
from sqlalchemy.orm import Session

from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import ReviewReason
from keysat.queue.outbox import EventType, emit_invoice


def review_opened(reason: ReviewReason) -> dict[str, Any]:
    """Return the columns of an invoice whose review is opened now."""
    return {
        "review_reason": reason,
        "reviewed": case(
            (Invoice.reviewed.contains([reason]), Invoice.reviewed),
            else_=func.array_append(Invoice.reviewed, reason),
        ),
        "review_opened_at": func.now(),
        "review_resolved_at": None,
    }


def open_review(session: Session, invoice_id: UUID, reason: ReviewReason, actor: str) -> None:
    """Open the review of a settled invoice, with its event. One that is reversed, or in review already, is unchanged.

    What is still due of the invoice waits for the review.
    """
    opened = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, ~Invoice.in_review, ~Invoice.reversed)
        .values(**review_opened(reason), next_check_at=None)
        .returning(Invoice.id)
    )
    if opened is not None:
        emit_invoice(session, EventType.INVOICE_REVIEW_NEEDED, invoice_id)
        audit(session, actor, EventType.INVOICE_REVIEW_NEEDED, invoice_id, review=reason)
