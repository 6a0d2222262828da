import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from keysat.core.errors import RemoteRefused
from keysat.sandbox.faults import parse_faults
from keysat.sandbox.wire import SandboxResponse, encode, transmit

LIST = "/stores/shop/invoices"


def exchange(sandbox, path=LIST):
    """Read the raw bytes of one response until the connection ends. Yields each piece with its time."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        request = f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: token api-key-of-shop\r\n\r\n"
        connection.sendall(request.encode())
        while piece := connection.recv(65_536):
            yield time.monotonic(), piece


def test_latency_delays_and_still_answers(merchant, sandbox):
    sandbox.set_faults([{"kind": "latency", "seconds": 0.05}, {"kind": "latency", "seconds": 0.05}])
    before = time.monotonic()
    assert merchant.list() == []
    assert time.monotonic() - before >= 0.1


@pytest.mark.parametrize("wish", [7, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_status_carries_retry_after_and_ends_after_its_times(merchant, sandbox, wish):
    sandbox.set_faults([{"kind": "status", "status": 429, "retry_after": wish, "times": 2}])
    for _ in range(2):
        response = merchant.call("GET", LIST)
        assert (response.status_code, response.headers["Retry-After"]) == (429, str(wish))
    assert merchant.list() == []


def test_status_answers_the_body_it_was_given(merchant, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 401, "body": {"code": "mine"}}])
    response = merchant.call("GET", LIST)
    assert (response.status_code, response.json()) == (401, {"code": "mine"})


def test_status_refuses_unless_it_is_executed(merchant, sandbox):
    for executed, invoices in ((False, 0), (True, 1)):
        sandbox.set_faults([{"kind": "status", "status": 500, "method": "post", "executed": executed}])
        assert merchant.call("POST", LIST, json={"amount": "1"}).status_code == 500
        assert len(merchant.list()) == invoices


def test_a_bodiless_status_keeps_the_connection_usable(merchant, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 204, "times": 1}])
    assert merchant.call("GET", LIST).content == b""
    assert merchant.list() == []


def test_hang_does_the_work_and_says_nothing(merchant, sandbox, sandbox_server):
    sandbox.set_faults([{"kind": "hang", "seconds": 60, "method": "POST"}])
    with pytest.raises(requests.ReadTimeout):
        merchant.session.post(
            f"{merchant.url}/api/v1{LIST}",
            json={"amount": "1"},
            headers={"Authorization": f"token {merchant.key}"},
            timeout=0.1,
        )
    assert len(merchant.list()) == 1


def test_hang_closes_after_its_seconds(merchant, sandbox, sandbox_server):
    sandbox.set_faults([{"kind": "hang", "seconds": 0.02}])
    assert list(exchange(sandbox_server)) == []


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drip_delivers_the_whole_response(merchant, sandbox, part):
    merchant.create()
    sandbox.set_faults([{"kind": "drip", "seconds_per_byte": 0.0001, "part": part, "times": 1}])
    assert len(merchant.list()) == 1


class Tape:
    """Records what is written, and each wait before it. It ends the server at a wait, if told so."""

    def __init__(self, stop_at=None):
        self.events, self._stop_at = [], stop_at

    def write(self, data):
        self.events.append(bytes(data))

    def wait(self, seconds):
        self.events.append(seconds)
        return self.events.count(seconds) == self._stop_at


ANSWER = SandboxResponse(200, [{"id": "one"}])
HEAD, BODY = encode(ANSWER)


def drip(part):
    (fault,), _ = parse_faults({"faults": [{"kind": "drip", "seconds_per_byte": 0.25, "part": part}]})
    return fault


def bytes_apart(text):
    return [event for byte in text for event in (0.25, bytes([byte]))]


@pytest.mark.parametrize(
    ("part", "events"),
    [("headers", [*bytes_apart(HEAD), BODY]), ("body", [HEAD, *bytes_apart(BODY), b""])],
)
def test_drip_waits_before_each_byte_of_one_part(part, events):
    tape = Tape()
    assert transmit(ANSWER, drip(part), tape, tape)
    assert tape.events == events


def test_drip_ends_with_the_server():
    tape = Tape(stop_at=3)
    assert not transmit(ANSWER, drip("body"), tape, tape)
    assert tape.events == [HEAD, *bytes_apart(BODY[:2]), 0.25]


def test_cut_ends_midway_through_the_body(merchant, sandbox, sandbox_server):
    merchant.create()
    sandbox.set_faults([{"kind": "cut"}])
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        merchant.call("GET", LIST)
    head, _, body = b"".join(piece for _, piece in exchange(sandbox_server)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body.startswith(b'[{"id"')


def test_garbage_is_no_json(merchant, sandbox):
    sandbox.set_faults([{"kind": "garbage"}])
    response = merchant.call("GET", LIST)
    assert response.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        response.json()


@pytest.mark.parametrize(("given", "answered"), [({}, {"result": "ok"}), ({"body": [1, None]}, [1, None])])
def test_wrong_json_is_json_of_another_shape(merchant, sandbox, given, answered):
    sandbox.set_faults([{"kind": "wrong_json", **given}])
    response = merchant.call("GET", LIST)
    assert (response.status_code, response.json()) == (200, answered)


@pytest.mark.parametrize("size", [9, 100, 1_000_000])
def test_huge_streams_that_many_bytes(merchant, sandbox, size):
    sandbox.set_faults([{"kind": "huge", "bytes": size, "times": 1}])
    response = merchant.call("GET", LIST)
    assert len(response.content) == size
    assert set(response.json()["id"]) <= {"a"}
    assert merchant.list() == []


def test_redirect_points_elsewhere_and_refuses(merchant, sandbox):
    sandbox.set_faults([{"kind": "redirect", "location": "http://127.0.0.1:9/x", "times": 1}])
    response = merchant.call("POST", LIST, json={"amount": "1"})
    assert (response.status_code, response.headers["Location"]) == (302, "http://127.0.0.1:9/x")
    assert merchant.list() == []


def test_rewrite_changes_single_invoices_and_lists(merchant, sandbox):
    invoice = merchant.create()
    fields = {"id": "another", "storeId": "theirs", "currency": "EUR", "amount": "1.00", "status": "Settled"}
    sandbox.set_faults([{"kind": "rewrite", "fields": fields}, {"kind": "rewrite", "remove": ["metadata"]}])
    for answer in (merchant.read(invoice), merchant.list()[0]):
        assert fields.items() <= answer.items()
        assert "metadata" not in answer
        assert answer["paidAmount"] == "0.00000000"
    assert sandbox.ledger()["invoices"][0]["status"] == "New"


def test_faults_can_be_narrowed(merchant, sandbox):
    sandbox.register_store("other", "other-key")
    invoice = merchant.create()

    def hit(fault):
        sandbox.set_faults([{"kind": "status", "status": 503, **fault}])
        calls = [("GET", LIST), ("GET", f"/invoices/{invoice['id']}"), ("GET", "/stores/other")]
        return "".join("x" if merchant.call(*call).status_code == 503 else "." for call in calls)

    assert hit({}) == "xxx"
    assert hit({"store": "shop"}) == "xx."
    assert hit({"store": "other"}) == "..x"
    assert hit({"method": "POST"}) == "..."
    assert hit({"path_prefix": "/api/v1/invoices/"}) == ".x."
    assert hit({"times": 1}) == "x.."
    assert hit({"times": 0}) == "..."
    assert hit({"probability": 0}) == "..."


def test_chances_repeat_with_their_seed(merchant, sandbox):
    def run(seed):
        sandbox.set_faults([{"kind": "status", "status": 500, "probability": 0.5}], seed=seed)
        return [merchant.call("GET", LIST).status_code for _ in range(20)]

    assert run(1) == run(1)
    assert set(run(1)) == {200, 500}
    assert run(1) != run(2)


def test_times_hold_among_racing_requests(merchant, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 500, "times": 5}])
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: merchant.call("GET", LIST).status_code, range(24)))
    assert statuses.count(500) == 5


def test_the_control_side_knows_no_faults(merchant, sandbox):
    sandbox.set_faults([{"kind": "status", "status": 500}])
    assert sandbox.ledger()["invoices"] == []
    sandbox.set_faults([])
    assert merchant.list() == []


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "earthquake"},
        {"kind": "latency"},
        {"kind": "latency", "seconds": -1},
        {"kind": "latency", "seconds": "1"},
        {"kind": "latency", "seconds": 1, "times": 1.5},
        {"kind": "latency", "seconds": 1, "times": -1},
        {"kind": "latency", "seconds": 1, "probability": 2},
        {"kind": "latency", "seconds": 1, "store": 7},
        {"kind": "latency", "seconds": 1, "typo": 1},
        {"kind": "status"},
        {"kind": "status", "status": 99},
        {"kind": "status", "status": 429, "retry_after": [1]},
        {"kind": "status", "status": 429, "retry_after": "1\r\nX: y"},
        {"kind": "status", "status": 500, "executed": 1},
        {"kind": "drip", "seconds_per_byte": 1, "part": "foot"},
        {"kind": "huge", "bytes": True},
        {"kind": "redirect"},
        {"kind": "redirect", "location": "a\nb"},
        {"kind": "rewrite", "fields": []},
        {"kind": "rewrite", "remove": [1]},
    ],
)
def test_a_malformed_fault_is_refused(sandbox, fault):
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        sandbox.set_faults([fault])
