"""State of `keysat up` on disk: the lock of the data directory, and the process ids of its children.

Both contain start times beside process ids, so that no other process is mistaken for one of ours.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from keysat.embedded.errors import AlreadyRunning, FolderUnusable
from keysat.embedded.folders import make_private
from keysat.embedded.identity import start_time


class DataDirLock:
    """A supervisor's lock on a data directory. It is released when the supervisor ends, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir, self._path = data_dir, data_dir / "keysat.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Creates the data directory (0700) if it is missing.

        Raises:
            AlreadyRunning: another process has the lock.
            FolderUnusable: the data directory or the lock file can't be created or opened.
        """
        make_private(self._data_dir)
        if not self.try_acquire():
            raise AlreadyRunning(self._data_dir, self.holder())

    def try_acquire(self) -> bool:
        """Take the lock if it is free, and write our process id and start time to it. The folder must exist."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            cause, remedy = error.strerror or "it can't be opened", "check who owns it and KEYSAT_DATA_DIR"
            raise FolderUnusable(self._path, cause, remedy) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {start_time(os.getpid()) or 0}\n".encode(), 0)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock, if we have it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """Return the process id of the supervisor, or None if none runs or it is just starting."""
        try:
            pid, started = map(int, self._path.read_text().split())
        except (OSError, ValueError):
            return None
        return pid if started == (start_time(pid) or 0) else None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class StateFile:
    """The children's process ids and start times, as JSON: {name: [pid, hundredths of a second since boot]}."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "keysat.pids"

    def record(self, name: str, pid: int) -> None:
        """Record that `name` is now the process `pid`."""
        self._write({**self._read(), name: (pid, start_time(pid) or 0)})

    def forget(self, name: str) -> None:
        """Record that `name` was stopped."""
        self._write({known: entry for known, entry in self._read().items() if known != name})

    def alive(self) -> dict[str, int]:
        """Return the names and process ids of the children that still run, under any supervisor."""
        return {name: pid for name, (pid, started) in self._read().items() if start_time(pid) == started}

    def _read(self) -> dict[str, tuple[int, int]]:
        try:
            entries = json.loads(self._path.read_text())
            return {str(name): (int(pid), int(started)) for name, (pid, started) in entries.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write(self, entries: dict[str, tuple[int, int]]) -> None:
        """Replace the file atomically, so that a supervisor killed in between leaves the old or the new one."""
        if not entries:
            with suppress(FileNotFoundError):
                self._path.unlink()
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(entries))
        fresh.replace(self._path)
