"""One webhook on its way: where it goes, what it carries, the call, and its redelivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import requests

JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass
class Counts:
    """Deliveries sent, dropped by the plan, delivered (2xx), and failed."""

    sent: int = 0
    dropped: int = 0
    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Message:
    """What a provider sends to a URL. `again` makes its redelivery. None sends the same bytes."""

    url: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    redelivers: bool = True
    again: Callable[[], Message] | None = None


@dataclass(frozen=True)
class Delivery:
    """A message, the delays in seconds before its redeliveries, and where its end is counted."""

    message: Message
    retry_delays: tuple[float, ...]
    counts: Counts

    def post(self, session: requests.Session, timeout: float) -> int | None:
        """Make the call. Return the response's status, or None if none arrives within `timeout` seconds."""
        url, content, headers = self.message.url, self.message.content, self.message.headers
        try:
            return session.post(url, data=content, headers=headers, timeout=timeout, allow_redirects=False).status_code
        except (requests.RequestException, ValueError):
            return None

    def again(self) -> Delivery:
        message = self.message if self.message.again is None else self.message.again()
        return replace(self, message=message, retry_delays=self.retry_delays[1:])
