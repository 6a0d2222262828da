"""The stop order, and cleanup of the children that a supervisor killed with -9 left behind."""

from __future__ import annotations

import threading

from keysat.embedded.identity import start_time
from keysat.embedded.process import Say, wind_down
from keysat.embedded.state import StateFile

# First what creates work, then what does it, then the servers that both need. Others stop before the servers.
_STOP_RANKS = {"web": 0, "beat": 1, "worker": 2, "sender": 2, "flower": 3, "valkey": 5, "postgres": 6}
_OTHER_RANK = 4


def stop_rank(name: str) -> int:
    """Return the position of a process in the stop order."""
    return _STOP_RANKS.get(name, _OTHER_RANK)


def end_orphans(state: StateFile, say: Say) -> bool:
    """Stop the children of a killed supervisor in order. Return whether there were any.

    The caller must have the data directory's lock.
    """
    orphans = state.alive()
    for name in sorted(orphans, key=stop_rank):
        _end(name, orphans[name], say)
        state.forget(name)
        say(f"{name} (pid {orphans[name]}), left by a supervisor that was killed, stopped.")
    return bool(orphans)


def _end(name: str, pid: int, say: Say) -> None:
    started = start_time(pid)
    wind_down(name, lambda: start_time(pid) == started, pid, hurry=threading.Event(), say=say)
