"""Telling whether a process id still means the same process: ids are given out again, start times are not.

Read from Linux's /proc; on systems without it no process counts as known.
"""

from __future__ import annotations

from pathlib import Path

_DEAD_STATES = {"Z", "X"}


def start_time(pid: int) -> int | None:
    """Return when it started, in clock ticks since boot; None if it is dead, unreaped or invisible."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name, which may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _DEAD_STATES else int(fields[19])


def is_stranger(pid: int, word: str) -> bool:
    """Whether the process id is taken by something whose command doesn't hold that word."""
    try:
        return word not in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return False
