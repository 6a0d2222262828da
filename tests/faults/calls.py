"""How long each call to a provider took, as the workers themselves saw it."""

import time
from pathlib import Path

from keysat.net.client import HttpClient


def record_calls(path: str) -> None:
    """From now on this process writes down the seconds of each of its calls."""
    request = HttpClient.request

    def timed(self, *arguments, **named):
        began = time.monotonic()
        try:
            return request(self, *arguments, **named)
        finally:
            with Path(path).open("a") as record:
                record.write(f"{time.monotonic() - began}\n")

    HttpClient.request = timed


def longest_call(path: Path) -> tuple[int, float]:
    """How many calls there were, and the seconds of the longest."""
    seconds = [float(line) for line in path.read_text().split()]
    return len(seconds), max(seconds, default=0.0)
