"""Epochs: each restore of a backup begins one, so that nothing is paid again that was paid after the dump was made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Time

# A restore makes every table anew, so its number differs; the cluster's own number tells two clusters apart.
_IDENTITY = text(
    "SELECT concat_ws(':', (SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), 'epochs'::regclass::oid::bigint)"
)
_OF_PRESENT = text(
    "SELECT EXISTS (SELECT FROM invoices WHERE epoch >= :present) OR EXISTS (SELECT FROM tips WHERE epoch >= :present)"
)
_LOCK = 7_418_064


class Epoch(Base):
    """Begins with a restore, whatever noticed it. `identity` is the database that it was noticed in."""

    __tablename__ = "epochs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str]
    began_at: Mapped[Time] = mapped_column(server_default=func.now())


def current_epoch() -> Select[Any]:
    """The number of the present epoch, 0 before any restore."""
    return select(func.coalesce(func.max(Epoch.number), 0))


def notice_restore(session: Session) -> bool:
    """Begin an epoch where the database was restored since the last one began; returns whether it was.

    It is found by the numbers that PostgreSQL gives a database and its tables, which a dump doesn't carry over.
    """
    identity = session.execute(_IDENTITY).scalar_one()
    last = session.execute(select(Epoch.identity).order_by(Epoch.number.desc()).limit(1)).scalar_one_or_none()
    if last == identity:
        return False
    _begin(session, identity, since=last)
    return last is not None


def declare_restore(session: Session) -> bool:
    """Begin an epoch on a person's word, unless nothing of the present one is there; returns whether one began."""
    present = session.execute(current_epoch()).scalar_one()
    if not session.execute(_OF_PRESENT, {"present": present}).scalar_one():
        return False
    _begin(session, session.execute(_IDENTITY).scalar_one(), since="")
    return True


def _begin(session: Session, identity: str, since: str | None) -> None:
    """Begin an epoch; the first one of a new database, which follows on none, is number 0."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    number = session.execute(current_epoch()).scalar_one() + (since is not None)
    session.execute(insert(Epoch).values(number=number, identity=identity).on_conflict_do_nothing())
