"""Checks whether a process id still refers to the same process. Ids are reused, start times are not."""

from __future__ import annotations

import psutil

_DEAD_STATES = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def start_time(pid: int) -> int | None:
    """Return the start time in hundredths of a second since boot, or None if the process is dead or a zombie.

    Time since boot doesn't change when the clock is set, as the time of day that psutil returns does.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in _DEAD_STATES:
            return None
        return round((process.create_time() - psutil.boot_time()) * 100)
    except psutil.Error:
        return None


def is_another_program(pid: int, word: str) -> bool:
    """Return whether the process id belongs to another program: its command line doesn't contain `word`."""
    try:
        return word not in psutil.Process(pid).cmdline()
    except psutil.ZombieProcess:
        return True
    except psutil.Error:
        return False
