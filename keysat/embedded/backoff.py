"""How long a child that ended waits before it starts again."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Seconds of delay: `first`, doubling to `most`, and `first` again after a life of `reset`."""

    first: float = 1
    most: float = 30
    reset: float = 60


@dataclass
class Watch:
    """When a child last started, its last delay, and when it is to start again (None: it runs)."""

    started: float
    delay: float = 0
    due: float | None = None

    def put_off(self, backoff: Backoff) -> None:
        """Set the next start, after the child ended or a start failed."""
        now = time.monotonic()
        lived = now - self.started if self.due is None else 0
        fresh = self.delay == 0 or lived >= backoff.reset
        self.delay = backoff.first if fresh else min(2 * self.delay, backoff.most)
        self.due = now + self.delay
