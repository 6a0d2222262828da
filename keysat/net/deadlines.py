"""Deadlines for HTTP calls: one total deadline per call, regardless of what it is blocked on.

`requests` times out between two reads, so a slow drip can block a call forever. `with Deadline(seconds):` around a call
over a session with `Adapter` mounted cuts its connections when the time is up. A DNS lookup can't be cut. A call to an
untrusted host stops waiting for it.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Protocol, Self

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError


class _Watchdog:
    """One thread per process that cuts overdue calls. A thread per call would cost as much as the call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[tuple[float, int, Deadline]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():  # the first call, also after a fork
                self._thread = threading.Thread(target=self._run, name="http-deadlines", daemon=True)
                self._thread.start()
            heapq.heappush(self._calls, (deadline.expires_at, next(self._number), deadline))
            if self._calls[0][2] is deadline:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                wait = self._calls[0][0] - time.monotonic() if self._calls else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                deadline = heapq.heappop(self._calls)[2]
            if not deadline.cut():
                self.add(deadline)


class Deadline:
    """Cuts the watched connections when the time is up, regardless of what the call is blocked on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expires_at = time.monotonic() + seconds
        self.expired = False
        self._over = False
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._token = _deadline.set(self)
        _watchdog.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)
        with self._lock:
            self._over = True
            while self._watched:
                self._watched.pop().close()

    def seconds_left(self) -> float:
        """Return the remaining time. Raises TimeoutError if none is left."""
        left = self.expires_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def begin_anew(self, seconds: float) -> None:
        """Give the call so many seconds from now, unless its time is up."""
        with self._lock:
            if not self.expired:
                self.seconds, self.expires_at = seconds, time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is up, regardless of whether the watchdog or a timeout noticed first."""
        return self.expired or time.monotonic() >= self.expires_at

    def watch(self, sock: socket.socket) -> None:
        """Watch a connection through a second descriptor, which survives the first one's wrapping in TLS."""
        with self._lock:
            self._watched.append(sock.dup())
        if self.expired:
            self.cut()

    def cut(self) -> bool:
        """End the call's connections, unless the call is over. Returns False if it got more time meanwhile."""
        with self._lock:
            if not self._over and not self.expired and self.expires_at > time.monotonic():
                return False
            self.expired = not self._over
            for sock in self._watched:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the peer closed the connection first
            return True


_watchdog = _Watchdog()
os.register_at_fork(after_in_child=_Watchdog.__init__.__get__(_watchdog))
_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def _watch(sock: Any) -> None:
    deadline = _deadline.get()
    if deadline is not None and sock is not None:
        deadline.watch(sock)


_Addresses = list[tuple[Any, Any, int, str, Any]]


def _look_up(host: str, port: int, _: Deadline) -> _Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _look_up_within(host: str, port: int, deadline: Deadline) -> _Addresses:
    """Resolve a host within the deadline. An untrusted DNS server can delay the resolver for half a minute."""
    found: Future[_Addresses] = Future()

    def resolve() -> None:
        try:
            found.set_result(_look_up(host, port, deadline))
        except (OSError, ValueError) as error:
            found.set_exception(error)

    threading.Thread(target=resolve, name="name-lookup", daemon=True).start()
    return found.result(deadline.seconds_left())


class Refuse(Protocol):
    """Returns why an address must not be connected to, in a few words, or None if it may be. `secure`: over TLS."""

    def __call__(self, address: str, *, secure: bool) -> str | None: ...


class Refused(OSError):
    """No address of a host may be connected to. Nothing was sent."""


class _Connection(HTTPConnection):
    """Puts each new or reused connection under the call's deadline."""

    _watched_by: Deadline | None = None
    _refuse: Refuse | None = None
    _secure = False

    def _new_conn(self) -> socket.socket:
        deadline = _deadline.get()
        if deadline is None:
            if self._refuse is not None:
                raise Refused("calls to untrusted addresses need a deadline")
            return super()._new_conn()
        self._watched_by = deadline
        problem: OSError = TimeoutError(f"{self._dns_host} has no address")
        host = self._dns_host.strip("[]")
        try:
            found = (_look_up if self._refuse is None else _look_up_within)(host, self.port, deadline)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        # urllib3 would apply the whole timeout to each address of a host.
        for family, kind, protocol, _, address in found:
            if self._refuse is not None and (reason := self._refuse(str(address[0]), secure=self._secure)):
                problem = Refused(reason)
                continue
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(deadline.seconds_left())
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
                continue
            deadline.watch(sock)
            return sock
        if isinstance(problem, Refused):
            raise problem
        raise NewConnectionError(self, str(problem)) from problem

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None and self._watched_by is not _deadline.get():
            _watch(self.sock)
            self._watched_by = _deadline.get()
        super().request(*args, **kwargs)


class _SecureConnection(_Connection, HTTPSConnection):
    _secure = True


def _pools(refuse: Refuse | None) -> dict[str, type[HTTPConnectionPool]]:
    """Return the classes that urllib3 uses for its pools.

    Connections with `refuse` serve one call. An untrusted server may close them at any moment, and the address must be
    checked again for the next call.
    """
    guard = {"_refuse": None if refuse is None else staticmethod(refuse)}
    plain = type("Connection", (_Connection,), guard)
    secure = type("SecureConnection", (_SecureConnection,), guard)
    keep = {} if refuse is None else {"_put_conn": lambda _, connection: connection and connection.close()}
    return {
        "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": plain, **keep}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure, **keep}),
    }


class Adapter(HTTPAdapter):
    """A requests adapter whose connections are subject to the deadline of the call that uses them.

    `refuse` is called with each address before connecting to it.
    """

    def __init__(self, *, pool_maxsize: int, tls: ssl.SSLContext, refuse: Refuse | None = None) -> None:
        self._pools, self._tls = _pools(refuse), tls
        super().__init__(pool_maxsize=pool_maxsize)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Leave the authorities to our context. For each connection, `requests` would read its bundle into it again."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._tls)
        manager.pool_classes_by_scheme = self._pools
        return manager
