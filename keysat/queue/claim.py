"""Claiming: rows that are due are taken and pushed forward in one statement.

A claimed row is due again only at its pushed time, and its message expires then. Two concurrent scans share the work, a
lost message is sent again, and a row has one live message at most. No lock outlives the statement, and nothing needs
cleaning up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, extract, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

Due = InstrumentedAttribute[datetime | None]


@dataclass(frozen=True)
class Claim:
    """A row to act on within `seconds`, after which it may be claimed again and its message is worth nothing.

    None where acting twice does nothing: such a message stays good, however long it waits.
    Not a time of day: the database's clock set it, and the worker that reads the message has another.
    """

    row_id: UUID
    seconds: float | None = None


def claim(
    session: Session,
    due: Due,
    limit: int,
    until: ColumnElement[Any],
    *where: ColumnElement[bool],
    max_wait: timedelta,
    values: Mapping[InstrumentedAttribute[Any], Any] | None = None,
) -> list[Claim]:
    """Take at most `limit` rows whose due time has come, longest due first, and push it to `until`.

    `values` are written along. Rows due further ahead than `max_wait` are due at once.
    """
    pull_back(session, due, max_wait, *where)
    table: Any = due.class_
    rows = (
        select(table.id)
        .where(due <= func.now(), *where)
        .order_by(due)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = session.execute(
        update(table)
        .where(table.id == rows.c.id)
        .values({due: until, **(values or {})})
        .returning(table.id.label("row_id"), extract("epoch", due - func.now()).label("seconds"))
    )
    return [Claim(row.row_id, None if row.seconds is None else float(row.seconds)) for row in claimed]


def pull_back(session: Session, due: Due, max_wait: timedelta, *where: ColumnElement[bool]) -> None:
    """Make rows due that are due further ahead than any wait: a clock that was wrong wrote that time.

    The database's clock may jump by days and back. Without this, rows written in between would wait that long.
    """
    session.execute(update(due.class_).where(due > func.now() + max_wait, *where).values({due: func.now()}))


def release(session: Session, due: Due, row_ids: list[UUID]) -> None:
    """Make claimed rows due at once, because no message could be sent for them. Those that are done stay done."""
    table: Any = due.class_
    session.execute(update(table).where(table.id.in_(row_ids), due.is_not(None)).values({due: func.now()}))
