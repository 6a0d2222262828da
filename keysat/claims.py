"""What a scan hands to its messages: a row that was claimed, and for how long it is."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Claim:
    """A row to act on within `seconds`, after which it may be claimed anew and its message is worth nothing.

    None where to act on it twice does nothing: such a message stays good, and isn't in vain however long it waits.
    Not a time of day: the database's clock set it, and the worker that reads the message has another.
    """

    row_id: UUID
    seconds: float | None = None
