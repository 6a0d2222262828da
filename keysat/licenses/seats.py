"""Seats: a machine takes one when a license is first used on it, and has it until it is deactivated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.licenses.state import (
    KeyReader,
    LicenseState,
    Reason,
    Verdict,
    evaluate,
    judge,
    load_license_state,
    lock_license,
)
from keysat.models import Machine
from keysat.models.audit import audit
from keysat.queue.outbox import EventType, emit_machine

# A known machine causes no write until this much time has passed since it was last seen.
SEEN_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Caller:
    """The calling machine: the SHA-256 of its fingerprint, and the names it reports."""

    fingerprint_hash: bytes
    hostname: str | None = None
    platform: str | None = None

    @classmethod
    def of(cls, fingerprint: str, hostname: str | None = None, platform: str | None = None) -> Caller:
        """Return the machine with that fingerprint, whose text is neither stored nor logged."""
        return cls(hashlib.sha256(fingerprint.encode()).digest(), hostname, platform)


def validate(
    database: Database,
    read_key: KeyReader,
    key: str,
    product_slug: str | None = None,
    caller: Caller | None = None,
) -> Verdict:
    """Return whether a key is valid. Without a product or a caller, any product or machine is accepted.

    A license with one seat is bound to the first machine that uses it. Others get a fingerprint mismatch.
    """
    verdict = take_seat(database, read_key, key, product_slug, caller)
    license_state = verdict.license_state
    if verdict.reason == Reason.TOO_MANY_MACHINES and license_state is not None and license_state.max_machines == 1:
        return replace(verdict, reason=Reason.FINGERPRINT_MISMATCH)
    return verdict


def take_seat(
    database: Database,
    read_key: KeyReader,
    key: str,
    product_slug: str | None = None,
    caller: Caller | None = None,
) -> Verdict:
    """Return whether a key is valid. A new machine takes a seat, and is refused if all are taken.

    A known machine costs one read statement. A machine that finds all seats taken locks nothing.
    """
    verdict = evaluate(database, read_key, key, product_slug, None if caller is None else caller.fingerprint_hash)
    license_state = verdict.license_state
    if verdict.reason is not None or license_state is None or caller is None:
        return verdict
    if license_state.machine_id is not None:
        refresh(database, license_state, caller)
        return verdict
    with database.reading() as session:
        full = _is_full(session, license_state)
        # Of two concurrent first requests of one machine, the other may have taken the seat for both.
        now_seated = full and load_license_state(session, license_state.license_id, caller.fingerprint_hash)
    if full and not (now_seated and now_seated.machine_id):
        return replace(verdict, reason=Reason.TOO_MANY_MACHINES)
    with database.transaction() as session:
        return _take(session, license_state, product_slug, caller)


def refresh(database: Database, license_state: LicenseState, caller: Caller) -> None:
    """Record that a machine is still in use, and the names it reports, unless that was done within `SEEN_EVERY`."""
    if license_state.last_seen_at is None or license_state.now - license_state.last_seen_at <= SEEN_EVERY:
        return
    with database.transaction() as session:
        session.execute(
            update(Machine)
            .where(Machine.id == license_state.machine_id, Machine.last_seen_at == license_state.last_seen_at)
            .values(
                last_seen_at=func.now(),
                hostname=func.coalesce(caller.hostname, Machine.hostname),
                platform=func.coalesce(caller.platform, Machine.platform),
            )
        )


def count_active(session: Session, license_id: UUID) -> int:
    """Return how many seats of a license are taken."""
    active = select(func.count()).where(Machine.license_id == license_id, ~Machine.deactivated)
    return session.scalar(active) or 0


def _is_full(session: Session, license_state: LicenseState) -> bool:
    return 0 < license_state.max_machines <= count_active(session, license_state.license_id)


def _take(session: Session, before: LicenseState, product_slug: str | None, caller: Caller) -> Verdict:
    """Read everything again under the license's lock. Others may have taken seats, or revoked it or its key."""
    license_id = before.license_id
    if not lock_license(session, before):
        return Verdict(Reason.REVOKED)
    verdict = judge(
        load_license_state(session, license_id, caller.fingerprint_hash), product_slug, caller.fingerprint_hash
    )
    license_state = verdict.license_state
    if verdict.reason is not None or license_state is None or license_state.machine_id is not None:
        return verdict
    if _is_full(session, license_state):
        return replace(verdict, reason=Reason.TOO_MANY_MACHINES)
    machine = Machine(
        license_id=license_id,
        fingerprint_hash=caller.fingerprint_hash,
        hostname=caller.hostname,
        platform=caller.platform,
    )
    session.add(machine)
    session.flush()
    emit_machine(session, EventType.MACHINE_ACTIVATED, machine.id)
    audit(session, "api", "machine.activated", machine.id, license_id=str(license_id))
    return replace(verdict, machine_id=machine.id)
