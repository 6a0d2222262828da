"""Read parts of a provider's JSON response. A required part that is missing or malformed makes it unusable."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keysat.core.errors import RemoteResponseInvalid


def require_object(value: Any, provider: str, noun: str) -> dict[str, Any]:
    """Return `value` as a JSON object. `noun` is what it should be, such as "an order".

    Raises:
        RemoteResponseInvalid: it is none.
    """
    if not isinstance(value, dict):
        raise RemoteResponseInvalid(f"{provider} sent JSON of another shape than {noun}.")
    return value


def require_text(fields: dict[str, Any], field: str, what: str) -> str:
    """Return a text that isn't empty and has no control characters.

    Raises:
        RemoteResponseInvalid: it is missing or malformed. `what` names the object, as "OpenNode's charge".
    """
    value = fields.get(field)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise RemoteResponseInvalid(f"{what} has no usable {field!r}.")
    return value


def optional_object(fields: Any, field: str) -> dict[str, Any]:
    """Return a field that is a JSON object, or an empty one if it is none, or if `fields` is none."""
    value = fields.get(field) if isinstance(fields, dict) else None
    return value if isinstance(value, dict) else {}


def optional_text(fields: Any, field: str) -> str | None:
    """Return a field that is a text, or None if it is none, or if `fields` is no object."""
    value = fields.get(field) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else None


def unix_time(value: Any) -> datetime | None:
    """Read a time in Unix seconds, or None if there is none that can be read."""
    try:
        return datetime.fromtimestamp(value, UTC) if type(value) is int else None
    except (OverflowError, OSError, ValueError):
        return None


def iso_time(value: Any) -> datetime | None:
    """Read a time in ISO 8601, by default in UTC, or None if there is none that can be read."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return at and (at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC))
    except (OverflowError, ValueError):
        return None
