"""Protection of the web server from too many connections: silent, slow and excess ones are closed.

Without a proxy, uvicorn would wait forever for a request's headers, and accept connections until the process reaches
its limit of open files.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADER_SECONDS = 10.0
# From the headers to the end of the response. The work takes a fraction of it, a client that reads slowly the rest.
REQUEST_SECONDS = 120.0
# Max connections accepted before the first of them is counted.
BACKLOG = 256
_OTHER_FILES = 128  # connections to database and broker, files, standard streams
_MIN_CONNECTIONS = 16
_PER_MINUTE = 10


def guarded(max_connections: int) -> type[H11Protocol]:
    """Return the protocol class with this limit, or a lower one if the process may not open as many files."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + BACKLOG + _OTHER_FILES
    if files != resource.RLIM_INFINITY and files < wanted:
        files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        max_connections = max(_MIN_CONNECTIONS, min(max_connections, files - BACKLOG - _OTHER_FILES))
    return type("Guarded", (GuardedProtocol,), {"max_connections": max_connections})


class GuardedProtocol(H11Protocol):
    """A connection with a deadline for each request's headers and for the whole request."""

    max_connections = 1_000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._accepted_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection. If it exceeds the limit, close the one that has been idle longest."""
        super().connection_made(transport)
        # Asyncio sets it only for its own listeners. Without it, responses wait 40 ms for an acknowledgment.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted_at = self.loop.time()
        self._expect(HEADER_SECONDS)
        if len(self.connections) > self.max_connections:
            others = (
                connection
                for connection in self.connections
                if isinstance(connection, GuardedProtocol) and connection.idle
            )
            min(others, key=lambda connection: connection._accepted_at).abort()  # noqa: SLF001 - of its own class

    def data_received(self, data: bytes) -> None:
        """Read data. The first bytes of a request start the deadline for its headers."""
        before = self.cycle
        if self.idle and self._deadline is None:
            self._expect(HEADER_SECONDS)
        super().data_received(data)
        if self.cycle is not before and not self.idle:
            self._expect(REQUEST_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have arrived already."""
        self._stop_expecting()
        self._accepted_at = self.loop.time()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before and not self.idle:
            self._expect(REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection and discard unsent data."""
        self._stop_expecting()
        self.connections.discard(self)  # so that the next excess connection doesn't choose it again
        self.transport.abort()

    def _expect(self, seconds: float) -> None:
        self._stop_expecting()
        self._deadline = self.loop.call_later(seconds, self.abort)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Throttle(logging.Filter):
    """Limits how often a minute a message is logged, as untrusted clients can trigger some at will."""

    def __init__(self) -> None:
        super().__init__()
        self._until, self._counts = 0.0, Counter[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + 60
            self._counts.clear()
        self._counts[str(record.msg)[:80]] += 1
        return self._counts[str(record.msg)[:80]] <= _PER_MINUTE


def throttle_server_logs() -> None:
    """Throttle the connection logs of uvicorn and asyncio."""
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(Throttle())
