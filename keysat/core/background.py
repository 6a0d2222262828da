"""Run jobs in one background thread per process, so that web requests never wait for the broker.

When the queue is full, further jobs are refused. A scan does the same work within seconds.
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
    """Make `run` return without waiting, in this block and in the threads started from it."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def run(job: Job) -> bool:
    """Run a job here or, while a request is served, in the background thread.

    Returns whether the job was run or will be.
    """
    if not _wanted.get():
        job()
        return True
    return _jobs.put(job)


class Jobs:
    """A bounded queue and its thread, which ends after `IDLE_SECONDS` without a job."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._queue = Lock(), Queue[Job](MAX_JOBS)
        self._running = False

    def put(self, job: Job) -> bool:
        """Add a job. Returns False if the queue is full or no thread can be started."""
        with self._lock:
            try:
                self._queue.put_nowait(job)
                if not self._running:
                    Thread(target=self._run, name="background", daemon=True).start()
                    self._running = True
            except (Full, RuntimeError):  # RuntimeError: no thread can be started
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
            except Exception:  # the thread runs other jobs, too
                log.exception("a job in the background failed")


_jobs = Jobs()
