"""The holder of a key sees where it is used, and frees a seat whose machine is gone.

How often in 30 days is limited by the license, so that a key isn't passed around. Concurrent requests are counted one
after the other, under the license's lock. A program that frees its own machine's seat isn't counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.licenses.machines import free_seat
from keysat.licenses.state import KeyReader, Reason, evaluate, lock_license
from keysat.models import License, Machine

WINDOW = timedelta(days=30)
_ACTOR = "holder"


@dataclass(frozen=True)
class Seats:
    """The machines that have a seat, oldest first. Without a license, `reason` says why, and the rest is None.

    `max_machines` 0 = unlimited. `releases_left` is how many seats the holder may free now, None = any number. A
    license that isn't valid has its seats, too.
    """

    reason: Reason | None
    machines: list[Machine] | None = None
    max_machines: int | None = None
    releases_left: int | None = None


def list_seats(database: Database, read_key: KeyReader, key: str) -> Seats:
    """Return the seats of a key's license."""
    verdict = evaluate(database, read_key, key)
    if verdict.license_state is None:
        return Seats(verdict.reason)
    with database.reading() as session:
        return read_seats(session, verdict.license_state.license_id)


def release_seat(database: Database, read_key: KeyReader, key: str, machine_id: UUID, note: str | None = None) -> Seats:
    """Free the seat of one of the license's machines. Return the seats that remain.

    The reason is `not_found` if the machine has no seat of this license, `too_many_releases` at the limit.
    """
    verdict = evaluate(database, read_key, key)
    if verdict.license_state is None:
        return Seats(verdict.reason)
    license_id = verdict.license_state.license_id
    with database.transaction() as session:
        if not lock_license(session, verdict.license_state):
            return Seats(Reason.REVOKED)
        return read_seats(session, license_id, _release(session, license_id, machine_id, note))


def _release(session: Session, license_id: UUID, machine_id: UUID, note: str | None) -> Reason | None:
    mine = select(Machine.id).where(Machine.id == machine_id, Machine.license_id == license_id, ~Machine.deactivated)
    if session.scalar(mine) is None:
        return Reason.NOT_FOUND
    if _releases_left(session, session.get_one(License, license_id)) == 0:
        return Reason.TOO_MANY_RELEASES
    return None if free_seat(session, machine_id, note, _ACTOR, by_holder=True) else Reason.NOT_FOUND


def read_seats(session: Session, license_id: UUID, reason: Reason | None = None) -> Seats:
    """Return the seats of a license."""
    row = session.get_one(License, license_id)
    seated = select(Machine).where(Machine.license_id == license_id, ~Machine.deactivated).order_by(Machine.id)
    return Seats(reason, list(session.scalars(seated)), row.max_machines, _releases_left(session, row))


def _releases_left(session: Session, row: License) -> int | None:
    if row.max_machines == 0:
        return None
    since = func.greatest(func.now() - WINDOW, row.transferred_at)  # GREATEST ignores NULL
    recent = Machine.deactivated_at > since
    freed = select(func.count()).where(Machine.license_id == row.id, Machine.by_holder, recent)
    return max(0, row.releases_per_seat * row.max_machines - (session.scalar(freed) or 0))
