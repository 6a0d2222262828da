"""Find licenses."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.core.hints import Hint
from keysat.models import License


def require_license(session: Session, license_id: UUID) -> License:
    """Return the license with that id.

    Raises:
        NotFound: no such license.
    """
    row = session.get(License, license_id)
    if row is None:
        raise NotFound("license", license_id, Hint.LIST_LICENSES)
    return row


def license_of_invoice(session: Session, invoice_id: UUID) -> License | None:
    """Return the license that was issued for an invoice, or None."""
    return session.scalar(select(License).where(License.invoice_id == invoice_id))
