"""The scheduler that beat runs. It is in memory and tolerates clock jumps.

All intervals are short and pending work is in PostgreSQL, so a persistent schedule has no use. A schedule that is
broken or from the future would stop the scans.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from celery.beat import Scheduler

from keysat.core.logs import get_logger
from keysat.core.settings import load_settings

# A larger step of the clock between two ticks is a jump, not gradual clock adjustment.
_JUMP_SECONDS = 2.0
ALIVE = "beat.alive"

log = get_logger(__name__)


class SteadyScheduler(Scheduler):
    """Celery's scheduler in memory. When the clock jumps, every interval restarts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._offset = _offset()
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        offset = _offset()
        if abs(offset - self._offset) > _JUMP_SECONDS:
            log.warning("the clock has jumped; every interval starts again", seconds=round(offset - self._offset))
            for entry in self.schedule.values():
                entry.last_run_at = entry.default_now()
            self._heap = None
        self._offset = offset
        with suppress(OSError):  # the file is only for health checks, and scans run without it
            (load_settings().data_dir / ALIVE).touch()
        return super().tick(*args, **kwargs)


def _offset() -> float:
    return time.time() - time.monotonic()
