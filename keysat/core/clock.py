"""Measure the offset between this machine's clock and the database's, which is authoritative.

The database's clock decides which rows are due. Messages expire by it, too, because Celery writes the time of day into
them. A worker whose clock is ahead would discard every message. If a sender's clock is behind, all other workers would
discard its messages.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.core.errors import KeysatError

_ASK_EVERY_SECONDS = 60.0


@dataclass
class _Measured:
    """The last measurement: seconds that the database is ahead, and the monotonic time of the last query."""

    ahead: float = 0.0
    asked_at: float = float("-inf")


_measured = _Measured()


def now() -> datetime:
    """Return the database's time, from an offset measured at most a minute ago.

    While the database is unavailable, the last offset is used.
    """
    if time.monotonic() - _measured.asked_at > _ASK_EVERY_SECONDS:
        _measured.asked_at = time.monotonic()
        _measure()
    return datetime.now(UTC) + timedelta(seconds=_measured.ahead)


def _measure() -> None:
    try:
        with reading() as session:
            database_now = session.execute(select(func.clock_timestamp())).scalar_one()
    except KeysatError:
        return
    _measured.ahead = (database_now - datetime.now(UTC)).total_seconds()
