"""Compute the wait before the next attempt of a failed delivery. Pure."""

from __future__ import annotations

import random

# Seconds between each attempt and the one before: ten attempts within about 23 hours.
DELAYS = (0, 5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200)
_JITTER = 0.2
# The max delay in seconds that a receiver may request with Retry-After.
_LONGEST_WISH = 86_400.0


def next_wait(failures: int, retry_after: float | None = None) -> float | None:
    """Return the seconds until the next attempt after this many failures, ±20 %, or None after the last attempt.

    `retry_after` is the delay that the receiver requested, in seconds. It is the min wait, up to one day.
    """
    if failures >= len(DELAYS):
        return None
    wait = DELAYS[failures] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not a secret
    return max(wait, min(retry_after or 0.0, _LONGEST_WISH))
