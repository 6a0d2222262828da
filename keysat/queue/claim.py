"""What a scan hands to its messages: a row that was claimed, and for how long it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.orm import InstrumentedAttribute, Session


@dataclass(frozen=True)
class Claim:
    """A row to act on within `seconds`, after which it may be claimed anew and its message is worth nothing.

    None where to act on it twice does nothing: such a message stays good, and isn't in vain however long it waits.
    Not a time of day: the database's clock set it, and the worker that reads the message has another.
    """

    row_id: UUID
    seconds: float | None = None


def pull_back(
    session: Session, due: InstrumentedAttribute[datetime | None], max_wait: timedelta, *where: ColumnElement[bool]
) -> None:
    """Let rows be due now whose due time lies further ahead than any wait: a clock that was wrong wrote it.

    The database's clock may jump by days and back. Without this, what it touched meanwhile would wait that long.
    """
    session.execute(update(due.class_).where(due > func.now() + max_wait, *where).values({due: func.now()}))
