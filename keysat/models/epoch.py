"""Epochs: each restore of a backup begins a new one.

So payments made after the dump are not made again, and status lists issued after the restore are newer than all before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Time

# A restore recreates every table, so the table's oid changes. The system identifier distinguishes two clusters.
_IDENTITY = text(
    "SELECT concat_ws(':', (SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), 'epochs'::regclass::oid::bigint)"
)
_OF_PRESENT = text(
    "SELECT EXISTS (SELECT FROM invoices WHERE epoch >= :present) OR EXISTS (SELECT FROM tips WHERE epoch >= :present)"
    " OR EXISTS (SELECT FROM status_lists WHERE epoch >= :present)"
)
_LOCK = 7_418_064


class Epoch(Base):
    """An epoch begins with each detected or declared restore. `identity` identifies the restored database."""

    __tablename__ = "epochs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str]
    began_at: Mapped[Time] = mapped_column(server_default=func.now())


def current_epoch() -> Select[Any]:
    """Select the number of the current epoch, 0 before any restore."""
    return select(func.coalesce(func.max(Epoch.number), 0))


def notice_restore(session: Session) -> bool:
    """Begin an epoch if the database was restored since the last one began. Returns whether it was.

    A restore changes the ids that PostgreSQL assigns to a database and its tables, because a dump doesn't contain them.
    """
    identity = session.execute(_IDENTITY).scalar_one()
    last = session.execute(select(Epoch.identity).order_by(Epoch.number.desc()).limit(1)).scalar_one_or_none()
    if last == identity:
        return False
    _begin(session, identity, since=last)
    return last is not None


def declare_restore(session: Session) -> bool:
    """Begin an epoch at a person's request, unless the current one has no rows. Returns whether one began."""
    present = session.execute(current_epoch()).scalar_one()
    if not session.execute(_OF_PRESENT, {"present": present}).scalar_one():
        return False
    _begin(session, session.execute(_IDENTITY).scalar_one(), since="")
    return True


def _begin(session: Session, identity: str, since: str | None) -> None:
    """Begin an epoch. The first epoch of a new database has number 0."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    number = session.execute(current_epoch()).scalar_one() + (since is not None)
    session.execute(insert(Epoch).values(number=number, identity=identity).on_conflict_do_nothing())
