"""Withdraw licenses: suspend them temporarily, revoke them permanently, or lift a suspension."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict
from keysat.core.texts import check_note
from keysat.licenses.state import require_license
from keysat.models import License
from keysat.models.audit import audit
from keysat.models.license import LicenseStatus
from keysat.queue.outbox import EventType, emit_license

_EVENTS = {
    LicenseStatus.SUSPENDED: EventType.LICENSE_SUSPENDED,
    LicenseStatus.REVOKED: EventType.LICENSE_REVOKED,
    LicenseStatus.ACTIVE: EventType.LICENSE_UNSUSPENDED,
}
_SOURCES = {
    LicenseStatus.SUSPENDED: (LicenseStatus.ACTIVE,),
    LicenseStatus.REVOKED: (LicenseStatus.ACTIVE, LicenseStatus.SUSPENDED),
    LicenseStatus.ACTIVE: (LicenseStatus.SUSPENDED,),
}


def change_status(session: Session, license_id: UUID, target: LicenseStatus, actor: str, note: str) -> None:
    """Change the status of a license. Revoked is final.

    Raises:
        NotFound: no such license.
        Conflict: its current status doesn't allow the change.
    """
    check_note(note)
    if _move(session, License.id == license_id, target, actor, note) is None:
        row = require_license(session, license_id)
        raise Conflict(f"license {license_id} is {row.status}, so it can't become {target}.")


def withdraw_of_invoice(
    session: Session, invoice_id: UUID, target: LicenseStatus, actor: str, note: str
) -> LicenseStatus | None:
    """Suspend or revoke the license of an invoice whose payment was reversed.

    Returns the license's previous status, or None if there was none to withdraw.
    """
    mine = License.invoice_id == invoice_id
    before = session.scalar(select(License.status).where(mine).with_for_update())
    moved = _move(session, mine, target, actor, note)
    return None if moved is None else before


def restore_of_invoice(
    session: Session, invoice_id: UUID, became: LicenseStatus, was: LicenseStatus, actor: str, note: str
) -> bool:
    """Restore the license status from before an invoice's reversal, unless the status has changed since.

    Returns whether it was restored.
    """
    restored = session.scalar(
        update(License)
        .where(License.invoice_id == invoice_id, License.status == became)
        .values(status=was)
        .returning(License.id)
    )
    if restored is not None:
        emit_license(session, _EVENTS[was], restored)
        audit(session, actor, "license.restored", restored, status=str(was), note=note)
    return restored is not None


def _move(session: Session, which: ColumnElement[bool], target: LicenseStatus, actor: str, note: str) -> UUID | None:
    moved = session.scalar(
        update(License).where(which, License.status.in_(_SOURCES[target])).values(status=target).returning(License.id)
    )
    if moved is not None:
        emit_license(session, _EVENTS[target], moved)
        audit(session, actor, f"license.{target}", moved, note=note or None)
    return moved
