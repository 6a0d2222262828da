"""Change an issued license: its terms, its holder, or its key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput
from keysat.core.hints import Hint
from keysat.core.mailbox import check_email
from keysat.core.texts import check_entitlements, check_note
from keysat.licenses.machines import free_seat
from keysat.licenses.state import require_license
from keysat.models import License, Machine
from keysat.models.audit import audit
from keysat.models.license import LicenseStatus
from keysat.queue.outbox import EventType, emit_license

FIELDS = {"expires_at", "max_machines", "releases_per_seat", "entitlements", "holder_email"}
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


def edit_license(session: Session, license_id: UUID, changes: Mapping[str, Any], actor: str, note: str) -> License:
    """Change columns of a license. `expires_at` None = perpetual, `max_machines` 0 = unlimited.

    The license's key changes with its end and its entitlements. Earlier keys stay valid online, with the new terms.
    Offline they keep what they say.

    Raises:
        NotFound: no such license.
        InvalidInput: a value is out of range, or the note is empty.
    """
    _check_note(note)
    if unknown := sorted(set(changes) - FIELDS):
        raise InvalidInput(f"{', '.join(unknown)} can't be changed; {', '.join(sorted(FIELDS))} can.")
    row = _lock(session, license_id)
    for name, value in _checked(changes).items():
        setattr(row, name, value)
    return _changed(session, row, actor, "license.changed", note, fields=sorted(changes))


def replace_key(session: Session, license_id: UUID, actor: str, note: str) -> License:
    """Replace a license's key. Earlier keys are refused online from now on, as revoked. Machines keep their seats.

    Raises:
        NotFound: no such license.
        Conflict: it is revoked.
        InvalidInput: the note is empty.
    """
    _check_note(note)
    row = _usable(session, license_id)
    _rotate(session, row)
    return _changed(session, row, actor, "license.rotated", note)


def transfer_license(session: Session, license_id: UUID, email: str, actor: str, note: str) -> License:
    """Give a license to another holder: with a new key, and without the machines of the former one.

    The buyer's purchase no longer shows the key.

    Raises:
        NotFound, Conflict: as `replace_key`.
        InvalidInput: the note is empty, or the e-mail address has the wrong form.
    """
    _check_note(note)
    check_email(email)
    row = _usable(session, license_id)
    _rotate(session, row)
    row.holder_email, row.transferred_at = email, session.scalars(select(func.now())).one()
    seated = select(Machine.id).where(Machine.license_id == license_id, ~Machine.deactivated)
    for machine_id in session.scalars(seated).all():
        free_seat(session, machine_id, "the license was transferred", actor)
    return _changed(session, row, actor, "license.transferred", note)


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they are stored: times in whole seconds, as in the key."""
    given = dict(changes)
    if (end := given.get("expires_at")) is not None:
        if not datetime(1970, 1, 2, tzinfo=UTC) <= end < _LAST:
            raise InvalidInput("a license's end must be between 1970 and 9999.")
        given["expires_at"] = end.replace(microsecond=0)
    if not 0 <= given.get("max_machines", 0) <= 10**6:
        raise InvalidInput("the number of machines must be 0 (unlimited) to 1,000,000.")
    if not 0 <= given.get("releases_per_seat", 0) <= 1_000:
        raise InvalidInput("the number of releases for each seat must be 0 to 1,000.")
    if (email := given.get("holder_email")) is not None:
        check_email(email)
    check_entitlements(given.get("entitlements", ()))
    return given


def _rotate(session: Session, row: License) -> None:
    """Set the time of the new key. It is later than that of the current one, so two rotations differ."""
    now = session.scalars(select(func.now())).one().replace(microsecond=0)
    row.rotated_at = max(now, row.key_issued_at + timedelta(seconds=1))


def _usable(session: Session, license_id: UUID) -> License:
    row = _lock(session, license_id)
    if row.status == LicenseStatus.REVOKED:
        raise Conflict(f"license {license_id} is revoked, and a revoked license stays as it is.")
    return row


def _lock(session: Session, license_id: UUID) -> License:
    session.execute(select(License.id).where(License.id == license_id).with_for_update(key_share=True))
    return require_license(session, license_id)


def _check_note(note: str) -> None:
    if not note.strip():
        raise InvalidInput("say why, for the audit log.", Hint.GIVE_NOTE)
    check_note(note)


def _changed(session: Session, row: License, actor: str, action: str, note: str, **facts: object) -> License:
    session.flush()
    emit_license(session, EventType.LICENSE_CHANGED, row.id)
    audit(session, actor, action, row.id, note=note, **facts)
    return row
