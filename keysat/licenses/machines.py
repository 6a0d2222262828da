"""Activate machines, record their use, and free their seats, for the buyer's program or the operator."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.core.errors import Conflict, NotFound
from keysat.core.hints import Hint
from keysat.licenses.seats import Caller, count_active, refresh, take_seat
from keysat.licenses.state import KeyReader, Reason, Verdict, evaluate, lock_license, require_license
from keysat.models import Machine
from keysat.models.audit import audit
from keysat.models.columns import newest
from keysat.queue.outbox import EventType, emit_machine


def activate(database: Database, read_key: KeyReader, key: str, caller: Caller) -> Verdict:
    """Take a seat for a machine, unless it has one. The reason is `too_many_machines` if none is free."""
    verdict = take_seat(database, read_key, key, caller=caller)
    if verdict.license_state is None:
        return verdict
    with database.reading() as session:
        return replace(verdict, active_count=count_active(session, verdict.license_state.license_id))


def heartbeat(database: Database, read_key: KeyReader, key: str, caller: Caller) -> Verdict:
    """Record that a machine is still in use. It takes no seat. The reason is `not_found` if it has none."""
    verdict = evaluate(database, read_key, key, fingerprint_hash=caller.fingerprint_hash)
    if verdict.reason is not None or verdict.license_state is None:
        return verdict
    if verdict.machine_id is None:
        return replace(verdict, reason=Reason.NOT_FOUND)
    refresh(database, verdict.license_state, caller)
    return verdict


def deactivate(database: Database, read_key: KeyReader, key: str, caller: Caller, reason: str | None = None) -> Verdict:
    """Free a machine's seat, even if the license is no longer valid. The reason is `not_found` if it has none."""
    verdict = evaluate(database, read_key, key, fingerprint_hash=caller.fingerprint_hash)
    if verdict.license_state is None:
        return verdict
    with database.transaction() as session:
        if not lock_license(session, verdict.license_state):
            return Verdict(Reason.REVOKED)
        freed = verdict.machine_id is not None and free_seat(session, verdict.machine_id, reason, "api")
        active_count = count_active(session, verdict.license_state.license_id)
    return replace(verdict, reason=None if freed else Reason.NOT_FOUND, active_count=active_count)


def list_machines(
    session: Session, license_id: UUID, limit: int | None = None, before: UUID | None = None
) -> list[Machine]:
    """Return all machines that a license was ever activated on, newest first.

    A machine that was freed and activated again is listed for each activation. Returns at most `limit`, and only those
    older than the one with the id `before`.

    Raises:
        NotFound: no such license.
    """
    require_license(session, license_id)
    wanted = select(Machine).where(Machine.license_id == license_id)
    return list(session.scalars(newest(wanted, Machine.id, limit, before)))


def deactivate_machine(session: Session, machine_id: UUID, reason: str, actor: str) -> None:
    """Free a machine's seat. The machine takes a free seat again on its program's next request.

    Raises:
        NotFound: no such machine.
        Conflict: it is already deactivated.
    """
    if free_seat(session, machine_id, reason, actor):
        return
    if session.get(Machine, machine_id) is None:
        raise NotFound("machine", machine_id, Hint.LIST_MACHINES)
    raise Conflict(f"machine {machine_id} was deactivated before; its seat is free.")


def free_seat(session: Session, machine_id: UUID, reason: str | None, actor: str, *, by_holder: bool = False) -> bool:
    """Free a machine's seat, with its event. Return False if it was free before, or there is no such machine."""
    license_id = session.scalar(
        update(Machine)
        .where(Machine.id == machine_id, ~Machine.deactivated)
        .values(deactivated_at=func.now(), deactivation_reason=reason, by_holder=by_holder)
        .returning(Machine.license_id)
    )
    if license_id is None:
        return False
    emit_machine(session, EventType.MACHINE_DEACTIVATED, machine_id)
    audit(session, actor, "machine.deactivated", machine_id, license_id=str(license_id), reason=reason)
    return True
