"""Connections that are silent, slow or many, over real sockets, without a proxy before the web server."""

import resource
import selectors
import socket
import sys
import time
from contextlib import ExitStack

import pytest
import requests

from keysat.embedded.commands import child_environment
from keysat.web import connections
from tests.nodes import ProcessContainer, wait_until
from tests.serving import serving_with

SILENT = 1_200


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 8_192), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def web_process(settings):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # As many files as a service gets by default, and no more.
    limited = ["sh", "-c", 'ulimit -n 1024; exec "$0" -m keysat web', sys.executable]
    process = ProcessContainer(
        limited, "Keysat listens at", {**child_environment(settings), "KEYSAT_WEB_PORT": str(port)}
    )
    try:
        assert process.ready()
        yield process, port
    finally:
        process.teardown()


def test_server_with_1200_silent_connections(web_process, many_files):
    """They neither stop the server nor fill the log."""
    process, port = web_process
    with ExitStack() as opened:
        for _ in range(SILENT):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=120))
        for _ in range(20):
            assert requests.get(f"http://127.0.0.1:{port}/livez", timeout=120).status_code == 200
    assert process.status == "running"
    assert len(process.logs()) < 20_000


@pytest.fixture
def quick(monkeypatch):
    """The port of a server that soon gives up on silent and slow connections."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 2.0)
    yield from twenty_at_once()


@pytest.fixture
def patient(monkeypatch):
    """The port of a server that closes connections for want of room alone."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 600)
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 600)
    yield from twenty_at_once()


def twenty_at_once():
    with serving_with(http=connections.guarded(20), timeout_keep_alive=600) as url:
        yield int(url.rpartition(":")[2])


def closed(connection):
    connection.settimeout(120)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answered(connection):
    connection.settimeout(120)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
    answer = b""
    while b"}" not in answer and (part := connection.recv(65_536)):
        answer += part
    return b'"ok":true' in answer


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: he"], ids=["silent", "half a header"])
def test_connection_without_headers_in_time_is_closed(quick, begun):
    with socket.create_connection(("127.0.0.1", quick)) as connection:
        connection.sendall(begun)
        assert closed(connection)


@pytest.mark.slow
def test_headers_that_drip_do_not_hold_a_connection(quick):
    with socket.create_connection(("127.0.0.1", quick)) as connection, selectors.DefaultSelector() as ready:
        ready.register(connection, selectors.EVENT_READ)
        wait_until(lambda: dripped(connection) or ready.select(0.05))
        assert closed(connection)


def dripped(connection):
    """Whether one byte more was refused."""
    try:
        connection.sendall(b"G")
    except OSError:
        return True
    return False


@pytest.mark.slow
def test_headers_of_a_second_request_are_awaited_no_longer(quick):
    with socket.create_connection(("127.0.0.1", quick)) as connection:
        assert answered(connection)
        connection.sendall(b"GET /live")
        assert closed(connection)


@pytest.mark.slow
def test_body_that_never_ends_does_not_hold_a_connection(quick):
    with socket.create_connection(("127.0.0.1", quick)) as connection:
        connection.sendall(b"POST /v1/validate HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n{")
        assert closed(connection)


@pytest.mark.slow
def test_idle_connection_stays_open_longer_than_headers_may_take(quick):
    with socket.create_connection(("127.0.0.1", quick)) as connection:
        assert answered(connection)
        with selectors.DefaultSelector() as ready:
            ready.register(connection, selectors.EVENT_READ)
            assert not ready.select(1.5)  # nothing comes, no end either
        assert answered(connection)


def test_longest_idle_connection_makes_way_for_a_new_one(patient):
    with ExitStack() as opened:
        connections = [opened.enter_context(socket.create_connection(("127.0.0.1", patient))) for _ in range(20)]
        assert all(answered(connection) for connection in connections)
        with socket.create_connection(("127.0.0.1", patient)) as one_more:
            assert answered(one_more)
            assert closed(connections[0])
            assert answered(connections[19])


def test_keep_alive_is_longer_than_the_usual_proxies(settings):
    assert settings.web_keep_alive > 120  # Caddy's default (nginx and load balancers have 60 s)


def test_keep_alive_can_be_set(settings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"KEYSAT_WEB_PORT": str(port), "KEYSAT_WEB_KEEP_ALIVE": "1"}
    process = ProcessContainer(
        [sys.executable, "-m", "keysat", "web"], "Keysat listens at", {**child_environment(settings), **own}
    )
    try:
        assert process.ready()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert answered(connection)
            began = time.monotonic()
            assert closed(connection)
            assert time.monotonic() - began < connections.HEADER_SECONDS
    finally:
        process.teardown()


def test_same_message_is_logged_so_many_times_a_minute_only():
    throttle, record = connections.Throttle(), type("Record", (), {"msg": "socket.accept() out of system resource"})
    assert [throttle.filter(record) for _ in range(1_000)].count(True) == 10
