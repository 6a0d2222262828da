"""Reversing: the money of a settled invoice went back, so its license is withdrawn."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.licenses.withdraw import withdraw_of_invoice
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice import InvoiceStatus
from keysat.models.license import LicenseStatus

_TARGETS = {"suspend": LicenseStatus.SUSPENDED, "revoke": LicenseStatus.REVOKED}


def reverse(session: Session, invoice_id: UUID, how: str, why: str, actor: str) -> bool:
    """Mark a settled invoice as reversed and suspend or revoke its license; False when that was done already.

    A license that was not issued yet never will be. The invoice's row is locked first, as issuing does, so a license
    can't slip in between.
    """
    reversed_now = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status == InvoiceStatus.SETTLED, Invoice.reversed_at.is_(None))
        .values(reversed_at=func.now(), next_check_at=None, last_error=None, error_count=0)
        .returning(Invoice.id)
        .execution_options(synchronize_session=False)
    )
    if reversed_now is None:
        return False
    cancel(session, invoice_id, actor)  # unless its license, and so the code's slot, was given out already
    withdrawn = withdraw_of_invoice(session, invoice_id, _TARGETS[how], actor, why)
    audit(session, actor, "invoice.reversed", invoice_id, why=why, license_id=withdrawn and str(withdrawn))
    return True
