"""A supervised program: started in its own session, logged to a file, stopped in steps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from keysat.embedded.account import Account
from keysat.embedded.errors import ProgramFailed

POLL_SECONDS = 0.02
_HURRIED_SECONDS = 1.0
_LOG_STAMP = re.compile(r"^(?:\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] |\d+:\w \d\d \w{3} \d{4} \S+ [.*#-] )")
_LOG_ALARM = re.compile(r"FATAL|PANIC|HINT|^initdb: (?:error|hint)")

Say = Callable[[str], None]
Steps = Sequence[tuple[signal.Signals, float]]

# The signals that end each program, with their timeouts in seconds. After the last one the whole group is killed.
STOP_STEPS: Mapping[str, Steps] = {
    "web": ((signal.SIGTERM, 25),),  # running requests have 20 s
    "worker": ((signal.SIGTERM, 40), (signal.SIGQUIT, 5)),
    # PostgreSQL's SIGTERM waits for its clients to leave. SIGINT doesn't.
    "postgres": ((signal.SIGINT, 15), (signal.SIGQUIT, 5)),
}
_DEFAULT_STEPS: Steps = ((signal.SIGTERM, 10),)


def wind_down(name: str, alive: Callable[[], bool], pid: int, *, hurry: threading.Event, say: Say) -> None:
    """End the program `pid` step by step, then kill what is left of its group.

    Once `hurry` is set, each step waits at most a second.
    """
    for number, patience in STOP_STEPS.get(name, _DEFAULT_STEPS):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if _ended(alive, patience, hurry):
            break
        say(f"{name} (pid {pid}) didn't end on {number.name}; it is ended by force.")
    kill_group(pid)
    _ended(alive, _HURRIED_SECONDS, hurry)


def _ended(alive: Callable[[], bool], patience: float, hurry: threading.Event) -> bool:
    began = time.monotonic()
    while alive():
        if time.monotonic() - began > (min(patience, _HURRIED_SECONDS) if hurry.is_set() else patience):
            return False
        time.sleep(POLL_SECONDS)
    return True


def kill_group(pid: int) -> None:
    """Kill what is left of the group that `pid` led, such as the pool children of a dead worker."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _silent(_: str) -> None:
    pass


@dataclass(eq=False)
class Process:
    """A program that is started, watched and stopped. It may be started again after it ended.

    It leads its own session, so that a Ctrl-C in the terminal doesn't reach it. `spawned` is called with the
    process as soon as it has a pid.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    account: Account = field(default_factory=Account)
    spawned: Callable[[Process], None] = field(default=lambda _: None)
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    @property
    def pid(self) -> int | None:
        """The process id of the last start. None before the first start."""
        return self._popen.pid if self._popen else None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal. None while the program runs and before its first start."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start the program, unless it is running.

        Raises:
            ProgramFailed: the program can't be executed.
        """
        if not self.alive:
            self._spawn()

    def stop(self, hurry: threading.Event | None = None, say: Say = _silent) -> None:
        """End the program and its group. Returns once it is gone."""
        if self._popen is None:
            return
        if self.alive:
            hurry = hurry or threading.Event()
            wind_down(self.name, lambda: self.alive, self._popen.pid, hurry=hurry, say=say)
        self.sweep()

    def kill(self) -> None:
        """End the program with SIGKILL and return once it is gone. Its children are not killed."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def wait(self) -> int:
        """Wait until a started program ends by itself, and return its exit status."""
        if self._popen is None:
            raise RuntimeError(self.name)
        return self._popen.wait()

    def sweep(self) -> None:
        """Kill what is left of the group after the program ended."""
        if self._popen is not None and not self.alive:
            kill_group(self._popen.pid)

    def last_words(self) -> str:
        """Summarize the log output of the last start: a server's last errors, or else the last line."""
        with self.log.open("rb") as stream:
            stream.seek(max(self._log_start, stream.seek(0, os.SEEK_END) - 65_536))
            text = stream.read().decode("utf-8", "replace")
        lines = [_LOG_STAMP.sub("", line).strip() for line in text.splitlines() if line.strip()]
        alarms = [line for line in lines if _LOG_ALARM.search(line)]
        return "; ".join(line[:300].rstrip(".") for line in (alarms[-2:] or lines[-1:]))

    def obituary(self) -> str:
        """Describe how the program ended and, unless a signal ended it, its last log output."""
        status = self.status or 0
        if status < 0:
            return f"{self.name} ended by {signal.Signals(-status).name}"
        words = self.last_words()
        return f"{self.name} ended with status {status}{f' ({words})' if words else ''}"

    def _spawn(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._log_start = output.seek(0, os.SEEK_END)
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - our own commands
                    [*self.account.prefix, *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    start_new_session=True,
                    user=self.account.uid,
                    group=self.account.gid,
                    extra_groups=None if self.account.uid is None else [],
                )
            except OSError as error:
                raise ProgramFailed(self.name, f"{error.filename} ({error.strerror})", self.log) from error
        self.spawned(self)
