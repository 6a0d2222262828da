"""HTTP calls against servers that are slow, broken or hostile, over real sockets."""

import gc
import multiprocessing
import re
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path

import pytest

from keysat.core.errors import (
    CredentialsRejected,
    NotTheProvider,
    PermissionMissing,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.net import deadlines
from keysat.net.client import HttpClient
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.providers.servers import raw_server, read_request, recording, whole_answer

DEADLINE, GRACE = 0.3, 3
LONG = 60
CAP = 10_000
KEY = "key-of-shop"
LIST = "/api/v1/stores/shop/invoices"
# What a server can send although the client doesn't read it: the buffers of both ends.
BUFFERS = 16_000_000
OK = whole_answer(b'{"ok": true}')


def client(url, deadline=DEADLINE, max_bytes=CAP):
    return HttpClient(url, {"Authorization": f"token {KEY}"}, deadline=deadline, max_bytes=max_bytes, name="The server")


@contextmanager
def overdue(message=f"gave no complete response within {DEADLINE:g} s."):
    """What is inside ends because of its deadline, and not before it."""
    start = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=f"^The server {re.escape(message)}"):
        yield
    assert DEADLINE - 0.05 <= time.monotonic() - start <= DEADLINE + GRACE


@pytest.fixture(scope="module")
def sandbox_server():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def faults(sandbox_server):
    """Sets the sandbox's faults. Its store has one invoice, so a list has a body."""
    with SandboxClient(sandbox_server.url) as control:
        control.reset()
        control.register_store("shop", KEY)
        client(sandbox_server.url, LONG).request("POST", LIST, json_body={"amount": "1"})
        yield lambda *faults: control.set_faults(faults)
        control.set_faults([])


@pytest.fixture
def plain_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def silent(connection, server):
    """Read every request and never respond."""
    while connection.recv(65_536):
        pass


def answering(*answers):
    """Respond to each request with these bytes, on one connection, and keep it open."""

    def talk(connection, server):
        for answer in answers:
            if read_request(connection) is None:
                return
            server.send(connection, answer)
        silent(connection, server)

    return talk


def then_closing(answer):
    """Respond with these bytes and close."""

    def talk(connection, server):
        read_request(connection)
        server.send(connection, answer)

    return talk


def endless(head, piece=b"a" * 65_536):
    """Respond with `head`, then with pieces for as long as the client reads them."""

    def talk(connection, server):
        read_request(connection)
        connection.sendall(head)
        while not server.stopping.is_set():
            server.send(connection, piece)

    return talk


def dripping(head, piece):
    """Respond with `head`, then with a piece every 20 ms, for three seconds."""

    def talk(connection, server):
        read_request(connection)
        connection.sendall(head)
        for _ in range(150):
            if not server.stopping.wait(0.02):
                connection.sendall(piece)

    return talk


# A silent server also runs into the timeout between two reads. Only one that drips tests the deadline.
DRIP = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ")


# One deadline in total.


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "hang", "seconds": 60},
        {"kind": "latency", "seconds": 1},
        {"kind": "drip", "seconds_per_byte": 0.02, "part": "headers"},
        {"kind": "drip", "seconds_per_byte": 0.02, "part": "body"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('part', '')}",
)
def test_deadline_slow_provider(sandbox_server, faults, fault):
    """The deadline ends the call, and the next call works."""
    http = client(sandbox_server.url)
    faults({**fault, "times": 1})
    with overdue():
        http.get(LIST)
    assert len(http.get(LIST).json) == 1


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(silent, id="no answer"),
        pytest.param(lambda _, server: server.stopping.wait(), id="nothing is even read"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Le"), id="hang in the headers"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), id="hang in the body"),
        pytest.param(answering(b"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\n{"), id="hang in a refusal's body"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\n\r\n{}", b" "), id="body that ends with the connection"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), id="small chunks"
        ),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"a: b\r\n"),
            id="endless trailers",
        ),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="endless interim answers"),
        pytest.param(
            dripping(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 9999\r\n\r\n", b" "), id="slow redirect"
        ),
    ],
)
def test_deadline_ends_every_misbehavior(talk):
    with raw_server(talk) as server, overdue():
        client(server.url).get("/")


def test_the_deadline_holds_for_a_tls_handshake_that_never_ends(plain_environment):
    with raw_server(silent) as server, overdue():
        client(server.url.replace("http:", "https:")).get("/")


def test_the_deadline_holds_behind_a_proxy(plain_environment):
    with raw_server(DRIP) as proxy:
        plain_environment.setenv("http_proxy", proxy.url)
        with overdue():
            client("http://shop.example").get("/")
        assert proxy.accepted == 1


@pytest.fixture
def full_port():
    """A port whose queue of connections is full: connecting to it hangs."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_the_deadline_holds_while_connecting(full_port):
    with overdue(message=""):  # the end of the time to connect and the deadline are the same moment
        client(f"http://127.0.0.1:{full_port}").get("/")


def test_deadline_many_addresses(full_port, monkeypatch, plain_environment):
    """One deadline covers the attempts to connect to all addresses of a host."""
    addresses = socket.getaddrinfo("127.0.0.1", full_port, type=socket.SOCK_STREAM) * 4
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    with overdue(message=""):
        client(f"http://many.example:{full_port}").get("/")


def test_deadline_on_reused_connection():
    """A persistent connection gets the new call's deadline."""

    def talk(connection, server):
        for _ in range(2):
            read_request(connection)
            server.send(connection, OK)
        DRIP(connection, server)

    with raw_server(talk) as server:
        http = client(server.url)
        http.get("/")
        http.get("/")
        with overdue():
            http.get("/")
        assert server.accepted == 1
        assert http.get("/").json == {"ok": True}
        assert server.accepted == 2


def test_deadline_ends_with_its_call():
    """A persistent connection is free of the last call's deadline."""

    def talk(connection, server):
        while read_request(connection) is not None:
            server.stopping.wait(DEADLINE * 0.6)
            server.send(connection, OK)

    with raw_server(talk) as server:
        http = client(server.url)
        for _ in range(4):
            assert http.get("/").json == {"ok": True}
        assert server.accepted == 1


def test_closed_connection_is_replaced():
    with raw_server(then_closing(OK)) as server:
        http = client(server.url)
        for _ in range(3):
            assert http.get("/").json == {"ok": True}
            assert server.closed.acquire(timeout=LONG)
        assert server.accepted == 3


def test_calls_at_once_each_keep_their_own_deadline():
    limits = [0.9, 0.2, 0.7, 0.3, 0.6, 0.4] * 5

    def call(http, deadline):
        start = time.monotonic()
        with suppress(RemoteUnavailable):
            http.get("/")
        return deadline - 0.05 <= time.monotonic() - start <= deadline + GRACE

    with raw_server(DRIP) as server, ThreadPoolExecutor(len(limits)) as pool:
        clients = {deadline: client(server.url, deadline) for deadline in limits}
        in_time = pool.map(call, (clients[deadline] for deadline in limits), limits)
        assert list(in_time) == [True] * len(limits)
        assert server.accepted > len(limits) / 2  # on a busy machine a short one may end before it is connected


def test_a_short_call_is_not_held_up_by_a_long_one_before_it():
    arrived = threading.Event()

    def talk(connection, server):
        if arrived.is_set():
            DRIP(connection, server)
        arrived.set()
        silent(connection, server)

    with ThreadPoolExecutor(1) as pool, raw_server(talk) as server:
        long = pool.submit(client(server.url, 60).get, "/")
        assert arrived.wait(LONG)
        with overdue():
            client(server.url).get("/")
        assert not long.done()
        server.stop()
        assert isinstance(long.exception(LONG), RemoteUnavailable)


def test_an_overdue_call_leaves_the_others_of_its_client_alone():
    arrived = threading.Event()

    def talk(connection, server):
        while (request := read_request(connection)) is not None:
            if request.path == "/slow":
                arrived.set()
                silent(connection, server)
                return
            server.send(connection, OK)

    with raw_server(talk) as server, ThreadPoolExecutor(1) as pool:
        http = client(server.url)
        slow = pool.submit(http.get, "/slow")
        assert arrived.wait(LONG)
        while not slow.done():
            assert http.get("/").json == {"ok": True}
        assert isinstance(slow.exception(), RemoteUnavailable)
        assert http.get("/").json == {"ok": True}


def _call_in_child(url, pipe):
    start = time.monotonic()
    try:
        client(url).get("/")
    except RemoteUnavailable as error:
        pipe.send((str(error), time.monotonic() - start))


def test_deadlines_hold_in_a_forked_child():
    fork = multiprocessing.get_context("fork")
    with raw_server(DRIP) as server:
        with overdue():
            client(server.url).get("/")  # from now on this process has a thread that the child has not
        ours, theirs = fork.Pipe()
        child = fork.Process(target=_call_in_child, args=(server.url, theirs))
        with deadlines._watchdog._changed:  # the child's copy of this lock stays locked
            child.start()
        try:
            assert ours.poll(DEADLINE + LONG)
            message, took = ours.recv()
        finally:
            child.kill()
            child.join(LONG)
            child.close()
            ours.close()
            theirs.close()
        assert "no complete response" in message
        assert took <= DEADLINE + GRACE
        with overdue():
            client(server.url).get("/")


# A cap on the bytes.


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"), id="with a length"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n\r\n"), id="without a length"),
        pytest.param(
            endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"a" * 0x8000 + b"\r\n"),
            id="in chunks",
        ),
        pytest.param(
            endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"), id="in one huge chunk"
        ),
        pytest.param(endless(b"HTTP/1.1 500 X\r\n\r\n"), id="as a refusal"),
        pytest.param(
            endless(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"),
            id="as a redirect",
        ),
    ],
)
def test_a_huge_body_is_given_up_soon_after_the_cap(talk):
    with raw_server(talk) as server:
        with pytest.raises(RemoteResponseInvalid, match=r"^The server sent more than 10,000 bytes; it was cut off\.$"):
            client(server.url, LONG).get("/")
        assert server.sent < BUFFERS


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""],
    ids=["header", "chunk's length", "first line"],
)
def test_a_line_without_an_end_is_given_up_soon(head):
    with raw_server(endless(head)) as server:
        with pytest.raises(RemoteError) as given_up:
            client(server.url, LONG).get("/")
        assert "no complete response" not in str(given_up.value), "not by its deadline"
        assert server.sent < BUFFERS


def test_a_provider_that_sends_a_huge_invoice_is_cut_off(sandbox_server, faults):
    faults({"kind": "huge", "bytes": 2**32, "times": 1})
    http = client(sandbox_server.url, LONG)
    with pytest.raises(RemoteResponseInvalid, match="cut off"):
        http.get(LIST)
    assert len(http.get(LIST).json) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_unpacks_to_more_than_the_cap_is_cut_off(encoding):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(50)) + packer.flush()
    with raw_server(answering(whole_answer(packed, Content_Encoding=encoding))) as server:
        tracemalloc.start()
        try:
            with pytest.raises(RemoteResponseInvalid, match="cut off"):
                client(server.url, LONG).get("/")
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(("size", "fits"), [(CAP, True), (CAP + 1, False)])
def test_the_cap_itself_is_allowed(size, fits):
    body = b'"' + b"a" * (size - 2) + b'"'
    with raw_server(answering(whole_answer(body))) as server:
        if fits:
            assert client(server.url, LONG).get("/").json == "a" * (size - 2)
        else:
            with pytest.raises(RemoteResponseInvalid):
                client(server.url, LONG).get("/")


# What the response means.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_not_followed(status, method):
    with recording() as target, raw_server(answering(whole_answer(b"{}", status, Location=target.url))) as server:
        with pytest.raises(NotTheProvider, match=rf"redirect \({status}\), which is not followed"):
            client(server.url, LONG).request(method, "/", json_body={"a": 1})
        assert target.requests == []


def test_a_redirect_of_the_provider_is_not_followed(sandbox_server, faults):
    with recording() as target:
        faults({"kind": "redirect", "location": f"{target.url}/elsewhere"})
        with pytest.raises(NotTheProvider, match="not followed"):
            client(sandbox_server.url, LONG).get(LIST)
        assert target.requests == []


@pytest.mark.parametrize("location", ["/same", "http://127.0.0.1:1/x", "//x", "", "mailto:a@b"])
def test_a_redirect_to_anywhere_is_not_the_servers_word(location):
    answer = whole_answer(b"{}", 302, Location=location)
    with raw_server(answering(answer)) as server, pytest.raises(NotTheProvider, match="not followed"):
        client(server.url, LONG).get("/")


@pytest.mark.parametrize("location", ["http://[", "\xe4\xf6"])
def test_a_redirect_to_no_address_is_not_the_servers_word(location):
    answer = whole_answer(b"{}", 302, Location=location)
    with raw_server(answering(answer)) as server, pytest.raises(NotTheProvider, match="not followed"):
        client(server.url, LONG).get("/")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RemoteRefused),
        (401, CredentialsRejected),
        (403, PermissionMissing),
        (404, RemoteNotFound),
        (405, RemoteRefused),
        (408, RemoteUnavailable),
        (409, RemoteRefused),
        (422, RemoteRefused),
        (425, RemoteUnavailable),
        (429, RemoteUnavailable),
        (500, RemoteUnavailable),
        (502, RemoteUnavailable),
        (503, RemoteUnavailable),
        (504, RemoteUnavailable),
        (599, RemoteUnavailable),
        (204, RemoteResponseInvalid),
        (304, NotTheProvider),
    ],
)
def test_each_status_has_its_error(sandbox_server, faults, status, error):
    faults({"kind": "status", "status": status, "times": 1})
    http = client(sandbox_server.url, LONG)
    with pytest.raises(RemoteError, match=r"^The server .*\.") as caught:
        http.get(LIST)
    assert type(caught.value) is error
    assert len(http.get(LIST).json) == 1


def test_other_successes_are_answers_with_their_status(sandbox_server, faults):
    faults({"kind": "status", "status": 202, "body": {"a": 1}})
    answer = client(sandbox_server.url, LONG).get(LIST)
    assert (answer.status, answer.json) == (202, {"a": 1})


def test_refusal_quotes_server_briefly():
    with raw_server(answering(whole_answer(b'{"message": "the amount is wrong' + b"x" * 5_000 + b'"}', 422))) as server:
        with pytest.raises(RemoteRefused, match=r"\(422\): .*the amount is wrongx+$") as caught:
            client(server.url, LONG).get("/")
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("\xb2", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_both_its_forms(sandbox_server, faults, given, seconds, status):
    faults({"kind": "status", "status": status, "retry_after": given})
    with pytest.raises(RemoteUnavailable) as caught:
        client(sandbox_server.url, LONG).get(LIST)
    assert caught.value.retry_after == seconds


def test_retry_after_as_a_date_is_counted_from_now(sandbox_server, faults):
    faults({"kind": "status", "status": 429, "retry_after": formatdate(time.time() + 100, usegmt=True)})
    with pytest.raises(RemoteUnavailable) as caught:
        client(sandbox_server.url, LONG).get(LIST)
    assert caught.value.retry_after == pytest.approx(100, abs=3)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html><body>It works!</body></html>", id="HTML"),
        pytest.param(b'{"a": 1', id="half"),
        pytest.param(b'{"a": 1} {"b": 2}', id="two values"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b"Infinity", id="Infinity"),
        pytest.param(b"[-Infinity]", id="-Infinity"),
        pytest.param(b"\xff\xfe\xff", id="no text"),
        pytest.param(b'"\xe4"', id="Latin-1"),
        pytest.param(b"[" * 200_000, id="deep lists"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b"9" * 5_000, id="more digits than an int may have"),
        pytest.param(
            b"1e99999999999999999999",
            id="an exponent that no Decimal has",
        ),
    ],
)
def test_what_is_not_json_is_an_invalid_answer(body):
    no_json = pytest.raises(RemoteResponseInvalid, match=r"^The server sent something that isn't JSON\.$")
    with raw_server(answering(whole_answer(body))) as server, no_json:
        client(server.url, LONG, 1_000_000).get("/")


def test_garbage_of_a_provider_is_an_invalid_answer(sandbox_server, faults):
    faults({"kind": "garbage"})
    with pytest.raises(RemoteResponseInvalid):
        client(sandbox_server.url, LONG).get(LIST)


def test_numbers_with_a_point_come_as_exact_decimals():
    body = b'{"sat": 0.00000001, "small": 1e-8, "long": 0.1000000000000000000000000000001, "whole": 5}'
    with raw_server(answering(whole_answer(body))) as server:
        found = client(server.url, LONG).get("/").json
    assert found == {
        "sat": Decimal("0.00000001"),
        "small": Decimal("1e-8"),
        "long": Decimal("0.1000000000000000000000000000001"),
        "whole": 5,
    }
    assert [type(found[name]) for name in ("sat", "small", "long", "whole")] == [Decimal, Decimal, Decimal, int]


# Broken connections.


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
def test_a_cut_connection_may_work_later(sent):
    with raw_server(then_closing(sent)) as server:
        with pytest.raises(RemoteUnavailable, match=r"^The server at \S+ cut the connection \(\w+\)\.$"):
            client(server.url, LONG).get("/")
        assert server.accepted == 1  # nothing is sent a second time


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_cut_in_its_headers_is_none(sent):
    with raw_server(then_closing(sent)) as server, pytest.raises(RemoteError):
        client(server.url, LONG).get("/")
    assert server.accepted == 1


def test_a_provider_that_cuts_the_connection_may_work_later(sandbox_server, faults):
    faults({"kind": "cut", "times": 1})
    http = client(sandbox_server.url, LONG)
    with pytest.raises(RemoteUnavailable, match="cut the connection"):
        http.get(LIST)
    assert len(http.get(LIST).json) == 1


def test_a_reset_connection_may_work_later():
    def reset(connection, server):
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(reset) as server, pytest.raises(RemoteUnavailable, match="cut the connection"):
        client(server.url, LONG).get("/")


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_refused_connection_may_work_later():
    with pytest.raises(RemoteUnavailable, match="can't be reached"):
        client(f"http://127.0.0.1:{closed_port()}").get("/")


@pytest.mark.parametrize("url", ["http://", "no-scheme", "http://127.0.0.1:99999", "http://a b"])
def test_an_address_that_can_not_be_one_is_an_error_of_ours(url):
    with pytest.raises(RemoteError, match=r"^The server .*\.$"):
        client(url, LONG).get("/")


# What is sent.


def test_query_body_and_headers_arrive():
    with recording() as server:
        client(server.url + "/").request("POST", "/x/%2F", json_body={"a": "ü"}, params={"take": 1, "q": "a&b"})
        request = server.only
    assert (request.method, request.path, request.json) == ("POST", "/x/%2F", {"a": "ü"})
    assert request.query == {"take": ["1"], "q": ["a&b"]}
    assert request.headers["authorization"] == f"token {KEY}"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", [".netrc", "_netrc"])
def test_a_netrc_file_does_not_replace_our_credentials(tmp_path, plain_environment, name):
    netrc = tmp_path / name
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login any password any\n")
    netrc.chmod(0o600)
    plain_environment.setenv("HOME", str(tmp_path))
    plain_environment.setenv("NETRC", str(netrc))
    with recording() as server:
        client(server.url, LONG).get("/")
        assert server.only.headers["authorization"] == f"token {KEY}"


def test_client_environment_proxy(plain_environment):
    """The environment's proxy is used, and its credentials don't replace ours."""
    with recording() as proxy:
        plain_environment.setenv("http_proxy", proxy.url.replace("://", "://user:secret@"))
        client("http://shop.example").get("/x")
        assert proxy.only.target == "http://shop.example/x"
        assert proxy.only.headers["authorization"] == f"token {KEY}"
        assert proxy.only.headers["proxy-authorization"].startswith("Basic ")


def test_a_host_excepted_from_the_proxy_is_called_directly(plain_environment):
    with recording() as server:
        plain_environment.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
        plain_environment.setenv("no_proxy", "127.0.0.1")
        client(server.url, LONG).get("/x")
        assert server.only.target == "/x"


# Nothing is left over.


def open_files():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
def test_failing_calls_leave_no_file_open(faults, sandbox_server):
    def fail(http):
        with suppress(RemoteError):
            http.get("/")
            pytest.fail("the call succeeded")

    failures = {
        "overdue": silent,
        "cut": then_closing(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        "huge": endless(b"HTTP/1.1 200 OK\r\n\r\n"),
        "redirect": answering(whole_answer(b"{}", 302, Location="/")),
        "refused": answering(whole_answer(b"{}", 500)),
        "garbage": answering(whole_answer(b"<html>")),
    }
    before = open_files()
    clients = []
    for talk in failures.values():
        with raw_server(talk) as server, ThreadPoolExecutor(10) as pool:
            clients.append(client(server.url, 0.1))
            list(pool.map(fail, [clients[-1]] * 35))
    for _ in range(10):
        fail(client(f"http://127.0.0.1:{closed_port()}"))
    # Up to ten persistent connections may wait for their next use at the three clients with a well-behaved server.
    assert open_files() <= before + 30
    clients.clear()
    assert open_files() <= before


def test_all_deadlines_of_a_process_share_one_thread():
    with raw_server(answering(OK)) as server:
        for _ in range(20):
            client(server.url, LONG).get("/")
    assert [thread.name for thread in threading.enumerate()].count("http-deadlines") == 1


def test_refusal_redacts_credentials():
    """An error that echoes our credentials doesn't repeat them."""
    answer = whole_answer(b'{"error": "Authorization: token top-secret-key"}', 400)
    with raw_server(answering(answer)) as server, pytest.raises(RemoteRefused) as refusal:
        HttpClient(
            server.url, {"Authorization": "token top-secret-key"}, deadline=5, max_bytes=1_000, name="The server"
        ).get("/")
    assert "top-secret-key" not in str(refusal.value)
    assert "[redacted]" in str(refusal.value)


@pytest.mark.parametrize(
    "echo",
    [
        "büyer+a/b@example.com",
        "BüYER+a/b@EXAMPLE.com",
        r"b\u00fcyer\u002Ba\/b@example.com",
        "b%C3%BCyer%2ba%2Fb%40example.com",
    ],
)
def test_refusal_redacts_private_request(echo):
    """An error that echoes private parts of our request doesn't repeat them."""
    refused = whole_answer(f'{{"message": "buyerEmail is {echo}, no"}}'.encode(), 422)
    private = ["büyer+a/b@example.com", ""]
    with raw_server(answering(refused)) as server, pytest.raises(RemoteRefused) as refusal:
        client(server.url, LONG).request("POST", "/", json_body={"buyerEmail": private[0]}, private=private)
    assert "buyerEmail is [redacted], no" in str(refusal.value)


NOT_ITS_OWN = [
    b"<html><body>Access denied</body></html>",
    b"",
    b"blocked",
    b"[]",
    b"null",
    b'"no"',
    b'{"reason": "blocked by policy"}',
    b'{"message": 7}',
]


@pytest.mark.parametrize("body", NOT_ITS_OWN)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 451])
def test_refusal_of_what_stands_before_the_server_is_not_its_word(status, body):
    with raw_server(answering(whole_answer(body, status))) as server, pytest.raises(NotTheProvider) as refusal:
        client(server.url, LONG).get("/")
    assert refusal.value.status == status
    assert "isn't The server itself" in str(refusal.value)
