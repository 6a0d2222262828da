"""The sandbox's HTTP/1.1 server: keep-alive connections, one thread per connection, one write per response."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keysat.sandbox.faults import Fault
from keysat.sandbox.wire import Request, SandboxResponse, transmit

_MAX_BODY = 1_048_576
_STOP_SECONDS = 5.0

Handle = Callable[[Request], tuple[SandboxResponse, Fault | None]]


class Server(ThreadingHTTPServer):
    """Serves `handle` at an address until `stop`, which also closes open connections."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handle: Handle) -> None:
        """Bind at once. Raises OSError if the address is unavailable."""
        self.handle, self.stopping = handle, threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox-http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close all connections. Wait up to 5 s for their threads."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                _cut(connection)
            self._changed.wait_for(lambda: not self._connections, _STOP_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may hang up, and often that is what a test exercises.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        # The base class resolves the host's name, which can take seconds. The name is never used.
        super(ThreadingHTTPServer, self).server_bind()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        request = Request(self.command, url.path, query, self.headers.get("Authorization", ""), body)
        answer, fault = self.server.handle(request)
        if not transmit(answer, fault, self.wfile, self.server.stopping):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that the base class looks for

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        fits = length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= _MAX_BODY
        if fits and "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(length))
        self.close_connection = True
        message = f"A body needs a Content-Length of at most {_MAX_BODY} bytes"
        transmit(
            SandboxResponse(413, {"code": "body-refused", "message": message}, {"Connection": "close"}),
            None,
            self.wfile,
            self.server.stopping,
        )
        return None

    def log_message(self, *_: object) -> None:
        """Log nothing, because the tally records the requests."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the peer has already closed the connection
