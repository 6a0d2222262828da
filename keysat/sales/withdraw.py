"""Suspend or revoke a license by hand, or lift a suspension, and write the mail about it to the license's holder."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.licenses.withdraw import change_status
from keysat.mail.owe import owe_license_status
from keysat.models import License
from keysat.models.license import LicenseStatus


def change_license(session: Session, license_id: UUID, target: LicenseStatus, actor: str, note: str) -> None:
    """Change the status of a license. The holder of a purchase's license gets mail. The note stays with the operator.

    Raises as `change_status`.
    """
    change_status(session, license_id, target, actor, note)
    invoice_id = session.scalar(select(License.invoice_id).where(License.id == license_id))
    if invoice_id is not None:
        owe_license_status(session, invoice_id)
