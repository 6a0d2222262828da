"""One thread a process for what a request leaves to be done after it, so that requests never wait for the broker.

Where it has fallen behind, more is refused: a scan does the same within seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, Full, Queue
from threading import Lock, Thread

from keysat.core.logs import get_logger

log = get_logger(__name__)

Job = Callable[[], None]
MAX_JOBS = 1_000
IDLE_SECONDS = 10.0
_wanted: ContextVar[bool] = ContextVar("keysat_background", default=False)


@contextmanager
def left_to_background() -> Iterator[None]:
    """Within this, and in the threads that are started from it, `run` doesn't wait."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def run(job: Job) -> bool:
    """Run a job: here, or where a request is served, in the thread. Returns whether it was or will be run."""
    if not _wanted.get():
        job()
        return True
    return _jobs.put(job)


class Jobs:
    """A queue and its thread, which ends when there was nothing to do for a while."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._queue = Lock(), Queue[Job](MAX_JOBS)
        self._running = False

    def put(self, job: Job) -> bool:
        """Returns whether there was room."""
        with self._lock:
            try:
                self._queue.put_nowait(job)
                if not self._running:
                    Thread(target=self._run, name="background", daemon=True).start()
                    self._running = True
            except (Full, RuntimeError):  # RuntimeError: no more threads can be had
                return False
        return True

    def _run(self) -> None:
        while True:
            try:
                job = self._queue.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._queue.empty():
                        self._running = False
                        return
                continue
            try:
                job()
            except Exception:  # the thread serves others, too
                log.exception("a job in the background failed")


_jobs = Jobs()
