"""Checks whether a process id still refers to the same process. Ids are reused, start times are not.

The data is read from Linux's /proc. On systems without it, every process is unknown.
"""

from __future__ import annotations

from pathlib import Path

_DEAD_STATES = {"Z", "X"}


def start_time(pid: int) -> int | None:
    """Return the start time in clock ticks since boot, or None if the process is dead, a zombie or invisible."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name, which may contain spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _DEAD_STATES else int(fields[19])


def is_stranger(pid: int, word: str) -> bool:
    """Return whether the process id belongs to another program: its command line doesn't contain `word`."""
    try:
        return word not in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return False
