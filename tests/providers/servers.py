"""Small servers with the responses that a test sets: one records requests, one misbehaves byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

SECONDS = 60


@dataclass
class RawServer:
    """Runs `talk(connection, server)` for each connection in its own thread.

    `accepted` is the number of connections, `sent` the number of bytes that `send` could send. `stopping` ends waits,
    and `closed` is released for each closed connection.
    """

    talk: Callable[[socket.socket, RawServer], object]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=256))
    stopping: threading.Event = field(default_factory=threading.Event)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    accepted: int = 0
    sent: int = 0
    _connections: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self):
        return self.listener.getsockname()

    @property
    def url(self):
        return "http://{}:{}".format(*self.address)

    def send(self, connection, data):
        connection.sendall(data)
        self.sent += len(data)

    def start(self, action, *args):
        thread = threading.Thread(target=action, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def accept(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # stopped
            self.accepted += 1
            self._connections.append(connection)
            self.start(self._serve, connection)

    def _serve(self, connection):
        with connection, suppress(OSError):
            self.talk(connection, self)
        self.closed.release()

    def stop(self):
        self.stopping.set()
        for connection in (self.listener, *self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a raw server's thread does not end"
        self.listener.close()


@contextmanager
def raw_server(talk) -> Iterator[RawServer]:
    """A server on loopback that treats each connection with `talk`."""
    server = RawServer(talk)
    server.start(server.accept)
    try:
        yield server
    finally:
        server.stop()


@dataclass(frozen=True)
class Recorded:
    """A request as received. `target` is the path and query as sent, and `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self):
        return urlsplit(self.target).path

    @property
    def query(self):
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def json(self):
        return json.loads(self.body)


def read_request(connection) -> Recorded | None:
    """Read one whole request. Returns None if the connection ends instead."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    method, target, _ = first.split(" ")
    return Recorded(method, target, headers, body)


def whole_answer(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A response with its length, after which the connection stays open."""
    given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{given}\r\n".encode("latin-1") + body


class Recorder:
    """Records each request and sends the same response to all. A body of bytes is sent as it is."""

    def __init__(self):
        self.requests: list[Recorded] = []
        self.answer: tuple[int, object] = (200, {})
        self.url = ""

    def talk(self, connection, server):
        while (request := read_request(connection)) is not None:
            self.requests.append(request)
            status, body = self.answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            server.send(connection, whole_answer(data, status))

    @property
    def only(self) -> Recorded:
        (request,) = self.requests
        return request


@contextmanager
def recording() -> Iterator[Recorder]:
    """A server on loopback that keeps the requests it gets."""
    recorder = Recorder()
    with raw_server(recorder.talk) as server:
        recorder.url = server.url
        yield recorder
