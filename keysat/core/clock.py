"""How far this machine's clock is from the database's, which alone counts.

What is due is due by the database's clock. Messages expire by it, too: Celery writes the time of day into them, and a
worker whose clock is ahead would throw away each of them, as would all others with those of a sender that is behind.
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
    """What this process knows: seconds that the database is ahead, and when (monotonic) it was asked last."""

    ahead: float = 0.0
    asked_at: float = float("-inf")


_measured = _Measured()


def now() -> datetime:
    """The database's time, measured at most a minute ago; by the last measure where the database doesn't answer."""
    if time.monotonic() - _measured.asked_at > _ASK_EVERY_SECONDS:
        _measured.asked_at = time.monotonic()
        _measure()
    return datetime.now(UTC) + timedelta(seconds=_measured.ahead)


def _measure() -> None:
    try:
        with reading() as session:
            told = session.execute(select(func.clock_timestamp())).scalar_one()
    except KeysatError:
        return
    _measured.ahead = (told - datetime.now(UTC)).total_seconds()
