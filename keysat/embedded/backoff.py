"""The delay before an ended child process is started again."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Delays in seconds: `first`, doubled up to `most`, and `first` again after an uptime of `reset`."""

    first: float = 1
    most: float = 30
    reset: float = 60


@dataclass
class Watch:
    """When a child last started, its last delay, and when to start it again (None: it is running)."""

    started: float
    delay: float = 0
    due: float | None = None

    def put_off(self, backoff: Backoff) -> None:
        """Schedule the next start, after the child ended or a start failed."""
        now = time.monotonic()
        lived = now - self.started if self.due is None else 0
        fresh = self.delay == 0 or lived >= backoff.reset
        self.delay = backoff.first if fresh else min(2 * self.delay, backoff.most)
        self.due = now + self.delay
