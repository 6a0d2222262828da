"""Parsing of times as people type them: a day, a time of day, or an age."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from keysat.core.errors import InvalidInput

_AGE = re.compile(r"([0-9]{1,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_when(text: str) -> datetime:
    """Parse `2026-11-25`, `2026-11-25T14:00` (UTC if no offset is given), or an age such as `30m`, `36h`, `7d`.

    Raises:
        InvalidInput: The text is none of these.
    """
    if _AGE.fullmatch(text.strip()):
        return datetime.now(UTC) - parse_age(text)
    try:
        when = datetime.fromisoformat(text.strip())
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"time {text[:40]!r} must be like 2026-11-25, 2026-11-25T14:00 or 36h.") from None


def parse_age(text: str) -> timedelta:
    """Parse a time span such as `30m`, `36h`, `7d`.

    Raises:
        InvalidInput: The text is no time span.
    """
    age = _AGE.fullmatch(text.strip())
    if age is None:
        raise InvalidInput(f"span {text[:40]!r} must be like 30m, 36h or 7d.")
    return timedelta(**{_UNITS[age[2]]: int(age[1])})
