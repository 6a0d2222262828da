"""No untrusted URL makes a packet reach an address that isn't public, unless the operator allowed it."""

import itertools
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysat.core.errors import InvalidInput, RemoteUnavailable
from keysat.net import untrusted
from keysat.net.addresses import Networks, refusal
from keysat.net.deadlines import Adapter
from keysat.net.untrusted import AddressRefused, GuardMissing, UntrustedClient, check_guard, check_url

NOBODY, LOOK_UP = Networks(), socket.getaddrinfo
HOSTILE = """
127.0.0.1 127.0.0.2 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200
100.127.255.254 169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.254 192.0.0.8 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 ::127.0.0.1 ::10.0.0.1 ::ffff:127.0.0.1
::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 100::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1:: 2002:a00:1:: 2002:c0a8:1::1 3fff::1 2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:10.0.0.1 4000::1
5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 fe80::1%lo febf::1 fec0::1 feff::1 ff02::1 ff05::2 ffff::1
2001:4860:4860::8888%lo
""".split()  # noqa: SIM905 - a table that can be read
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111"]
PUBLIC += ["::ffff:8.8.8.8", "64:ff9b::808:808", "2001:4860:4860::8888", "2a00:1450::5efe:8.8.8.8", "11.0.0.1"]
# What leads to this machine without looking like it.
DISGUISED = ["2130706433", "0x7f000001", "017700000001", "127.1", "0177.0.0.1", "0x7f.1", "localhost", "[::1]", "0"]
DISGUISED += [
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "127.0.0.1.",
    "LOCALHOST",
    "\uff11\uff12\uff17.0.0.1",
    "①②⑦.0.0.1",
]
NO_URL = ["", "x", "//a", "ftp://a.example/", "file:///etc/passwd", "https://", "https:///x", "gopher://127.0.0.1/_"]
NO_URL += [
    "https://user@a.example/",
    "https://user:pw@a.example/",
    "https://a b/",
    "https://a\\@127.0.0.1/",
    "javascript:1",
]
NO_URL += [
    "https://a.example:99999/",
    "https://a.example:x/",
    "https://[::1/",
    "https://a.example/\r\nX: y",
    "https://a/\x00",
]


class Listener:
    """A server on this machine that counts connections, and sends the given responses."""

    def __init__(self):
        self.connections, self.answers, self.received = 0, [], b""
        self._socket = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with peer, suppress(OSError):
                self.received += peer.recv(65_536)
                for part in self.answers:
                    time.sleep(0.05) if part is None else peer.sendall(part)

    def close(self):
        self._socket.close()


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.close()


def client(allowed="", **options):
    return UntrustedClient(Networks.parse(allowed), **{"deadline": 2, "max_bytes": 2_000, **options})


@pytest.mark.parametrize("address", HOSTILE)
def test_address_that_is_not_public_is_refused(address):
    assert refusal(address, NOBODY)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_not(address):
    assert refusal(address, NOBODY) is None


def test_table_is_as_long_as_it_should_be():
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "127.0.0.1 ", "1.1.1.1/8", "::g"])
def test_what_is_no_address_is_refused(text):
    assert refusal(text, NOBODY) == "no address"


def test_allowed_networks_are_allowed_in_every_form_and_nothing_else_is():
    allowed = Networks.parse("10.0.0.0/8, 192.168.5.7, fd00:1::/32")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "192.168.5.7", "fd00:1::5"):
        assert refusal(address, allowed) is None, address
    for address in ("11.0.0.1", "1.1.1.1"):
        assert refusal(address, allowed) is None, address
    for address in ("192.168.5.8", "fd00:2::5", "127.0.0.1", "::ffff:192.168.5.8", "2002:a00:1::"):
        assert refusal(address, allowed), address


@pytest.fixture
def connects(monkeypatch):
    """Every address to which a socket of this process connects."""
    asked, connect = [], socket.socket.connect

    class Recorded(socket.socket):
        def connect(self, address):
            asked.append(address)
            connect(self, address)

    monkeypatch.setattr(socket, "socket", Recorded)
    return asked


def test_guard_in_place_passes_without_connecting(connects):
    check_guard()
    assert connects == []


def allow_all(*_, **__):
    return None


def without_refusals(**options):
    return Adapter(**{**options, "refuse": None})


def refuse_late(client, method, url, **_):
    """A client that connects before it refuses."""
    host, _, port = urlsplit(url).netloc.partition(":")
    socket.create_connection((host, int(port))).close()
    raise AddressRefused(host, "too late")


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (untrusted, "refusal", allow_all),
        (untrusted, "Adapter", without_refusals),
        (UntrustedClient, "_refuse", allow_all),
        (UntrustedClient, "request", refuse_late),
        (UntrustedClient, "request", allow_all),
    ],
    ids=["no rules", "plain adapter", "no refusals", "late refusals", "no calls"],
)
def test_guard_that_is_not_in_place_is_noticed(monkeypatch, owner, name, broken):
    monkeypatch.setattr(owner, name, broken)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)  # what isn't refused gets no answer
    with pytest.raises(GuardMissing, match=r"a call to the private address http://127\.0\.0\.1:\d+/ was not refused"):
        check_guard()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_name_of_any_address_that_is_not_public_connects_to_nothing(connects, listener, monkeypatch, scheme):
    caller = client(allow_http=True)
    for address in HOSTILE:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        end = (address, listener.port, 0, 0) if ":" in address else (address, listener.port)
        resolved = [(family, socket.SOCK_STREAM, 6, "", end)] * 2
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=resolved, **__: found)
        with pytest.raises(AddressRefused, match=r"nothing is sent to hooks\.example\.com: "):
            caller.request("POST", f"{scheme}://hooks.example.com:{listener.port}/", body=b"x")
    assert connects == []
    assert listener.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_packet_reaches_this_machine_under_any_of_its_names(listener, scheme):
    caller = client(allow_http=True)
    hosts = [
        *DISGUISED,
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        *(f"[{address}]" for address in HOSTILE if ":" in address and "%" not in address),
    ]
    for host in hosts:
        with pytest.raises((AddressRefused, RemoteUnavailable, InvalidInput)) as refused:
            caller.request("POST", f"{scheme}://{host}:{listener.port}/", body=b"x")
        assert str(refused.value).endswith("."), host
    assert listener.connections == 0


def test_name_that_resolves_to_this_machine_is_refused(listener, monkeypatch):
    resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved)
    with pytest.raises(AddressRefused, match=r"nothing is sent to hooks\.example\.com: this machine"):
        client(allow_http=True).request("POST", f"http://hooks.example.com:{listener.port}/", body=b"x")
    assert listener.connections == 0


def test_dns_that_changes_its_answer_gains_nothing(listener, monkeypatch):
    """The name first resolves to a public address, then to this machine. It is resolved only once."""
    answers = itertools.cycle(["192.0.2.1", "127.0.0.1"])  # simulates a silent public address
    asked = []

    def resolve(host, port, *_, **__):
        asked.append(next(answers))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (asked[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(
        "keysat.net.untrusted.refusal", lambda address, allowed: "local" if address == "127.0.0.1" else None
    )
    caller = client(allow_http=True, deadline=0.2)
    for _ in range(6):
        with pytest.raises((AddressRefused, RemoteUnavailable)):
            caller.request("POST", f"http://hooks.example.com:{listener.port}/", body=b"x")
    assert len(asked) == 6
    assert listener.connections == 0


def test_public_address_beside_a_private_one_is_the_only_one_tried(listener, monkeypatch):
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, listener.port)) for address in ("127.0.0.1", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr(
        "keysat.net.untrusted.refusal", lambda address, allowed: None if address == "127.0.0.1" else "private"
    )
    listener.answers = [b"HTTP/1.1 204 No Content\r\n\r\n"]
    assert client(allow_http=True).request("GET", f"http://hooks.example.com:{listener.port}/").status == 204


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_url_is_refused_in_a_sentence(url):
    for allow_http in (False, True):
        with pytest.raises(InvalidInput, match="must start with"):
            check_url(url, allow_http=allow_http)


def test_plain_http_is_for_allowed_networks_unless_it_is_allowed(listener):
    listener.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    url = f"http://127.0.0.1:{listener.port}/"
    with pytest.raises(InvalidInput, match="must start with https://"):
        client().request("GET", url)
    assert client("127.0.0.0/8").request("GET", url).body == b"ok"
    with pytest.raises((AddressRefused, RemoteUnavailable)):
        client("10.0.0.0/8").request("GET", url)
    assert listener.connections == 1


def test_redirect_is_an_answer_and_is_not_followed(listener):
    target = Listener()
    location = f"http://127.0.0.1:{target.port}/"
    listener.answers = [f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()]
    assert client("127.0.0.1").request("POST", f"http://127.0.0.1:{listener.port}/", body=b"x").status == 302
    assert target.connections == 0
    target.close()


def test_long_answer_is_cut(listener):
    listener.answers = [b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000_000]
    answer = client("127.0.0.1").request("GET", f"http://127.0.0.1:{listener.port}/")
    assert (answer.status, len(answer.body), answer.truncated) == (200, 2_000, True)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_slow_drip_ends_at_the_deadline(listener, start):
    listener.answers = [start, *[None, b"x"] * 200]
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="no complete response within"):
        client("127.0.0.1", deadline=0.5).request("GET", f"http://127.0.0.1:{listener.port}/")
    assert time.monotonic() - began < 5


def test_dns_that_lets_the_resolver_wait_does_not_hold_the_call(monkeypatch):
    release, released = threading.Event(), threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (release.wait(120) and released.set()) or [])
    try:
        with pytest.raises(RemoteUnavailable, match=r"hooks\.example\.com gave no complete response within 0\.3 s"):
            client(deadline=0.3).request("GET", "https://hooks.example.com/")
        assert not released.is_set()
    finally:
        release.set()


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[0-9a-fxA-F.:%\[\]]{1,30}", fullmatch=True)))
def test_host_of_any_form_ends_in_a_sentence(host):
    """Only forms of addresses are looked up for real, because they need no resolver."""

    def numbers_only(name, port, **options):
        return LOOK_UP(name, port, flags=socket.AI_NUMERICHOST, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", numbers_only)
        patched.setattr("keysat.net.untrusted.refusal", lambda *_: "nobody is called here")
        with pytest.raises((AddressRefused, RemoteUnavailable, InvalidInput)) as refused:
            client(allow_http=True).request("GET", f"http://{host}:9/")
    assert str(refused.value).endswith(".")


def test_untrusted_calls_are_independent(listener, monkeypatch, tmp_path):
    """Calls share no cookies, and take neither proxies nor credentials from the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    for name, value in (
        ("NETRC", str(netrc)),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("ALL_PROXY", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, value)
    listener.answers = [b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"]
    caller = client("127.0.0.1")
    for _ in range(2):
        assert caller.request("GET", f"http://127.0.0.1:{listener.port}/").status == 200
    assert listener.received.count(b"GET / HTTP/1.1") == 2
    assert b"Authorization" not in listener.received
    assert b"Cookie" not in listener.received
