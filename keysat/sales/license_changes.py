"""Change a license by hand, and write the mail about it to the license's holder.

A license is suspended or revoked, a suspension is lifted, a key is replaced, or the license gets another holder. The
note stays with the operator.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from keysat.licenses.edit import replace_key, transfer_license
from keysat.licenses.withdraw import change_status
from keysat.mail.owe import owe_license_status, owe_new_key
from keysat.models import License
from keysat.models.license import LicenseStatus


def change_license(session: Session, license_id: UUID, target: LicenseStatus, actor: str, note: str) -> None:
    """Change the status of a license, and write to its holder. Raises as `change_status`."""
    change_status(session, license_id, target, actor, note)
    owe_license_status(session, license_id)


def give_new_key(session: Session, license_id: UUID, actor: str, note: str) -> License:
    """Replace a license's key, and write the new one to its holder. Raises as `replace_key`."""
    row = replace_key(session, license_id, actor, note)
    owe_new_key(session, license_id, transferred=False)
    return row


def change_holder(session: Session, license_id: UUID, email: str, actor: str, note: str) -> License:
    """Give a license to another holder, and write the new key to that one. Raises as `transfer_license`."""
    row = transfer_license(session, license_id, email, actor, note)
    owe_new_key(session, license_id, transferred=True)
    return row
