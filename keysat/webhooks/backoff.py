"""When a delivery that failed is tried again, and when no more. Pure."""

from __future__ import annotations

import random

# Seconds before each attempt, counted from the one before: ten attempts within about 23 hours.
DELAYS = (0, 5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200)
_JITTER = 0.2
# A receiver may ask for more patience than the schedule has, but not for ever.
_LONGEST_WISH = 86_400.0


def next_wait(failures: int, retry_after: float | None = None) -> float | None:
    """Seconds until the next attempt after so many failures, give or take a fifth; None when there is none.

    `retry_after`: what the receiver asked for, in seconds; it is not called sooner.
    """
    if failures >= len(DELAYS):
        return None
    wait = DELAYS[failures] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret
    return max(wait, min(retry_after or 0.0, _LONGEST_WISH))
