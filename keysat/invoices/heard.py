"""Record each change of the provider status that checks find, for the invoice's timeline."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from keysat.models import Invoice, InvoiceLook

_MOST = 500


def note(session: Session, invoice_id: UUID, actor: str, said: str, outcome: str) -> None:
    """Store the provider status and the outcome of a check, unless the status is the same as at the check before."""
    said = said[:_MOST]
    checks = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, or_(Invoice.last_said.is_(None), Invoice.last_said != said))
        .values(last_said=said)
        .returning(Invoice.check_count)
    )
    if checks is not None:
        session.add(InvoiceLook(invoice_id=invoice_id, actor=actor, said=said, outcome=outcome, check_count=checks))
