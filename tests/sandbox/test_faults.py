import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from keysat.core.errors import RemoteRefused

LIST = "/stores/shop/invoices"


def exchange(sandbox, path=LIST):
    """Read raw bytes of one answer until the connection ends; yields what came with its moment."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        request = f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: token api-key-of-shop\r\n\r\n"
        connection.sendall(request.encode())
        while piece := connection.recv(65_536):
            yield time.monotonic(), piece


def test_latency_delays_and_still_answers(shop, client):
    client.set_faults([{"kind": "latency", "seconds": 0.05}, {"kind": "latency", "seconds": 0.05}])
    before = time.monotonic()
    assert shop.list() == []
    assert time.monotonic() - before >= 0.1


@pytest.mark.parametrize("wish", [7, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_status_carries_retry_after_and_ends_after_its_times(shop, client, wish):
    client.set_faults([{"kind": "status", "status": 429, "retry_after": wish, "times": 2}])
    for _ in range(2):
        response = shop.call("GET", LIST)
        assert (response.status_code, response.headers["Retry-After"]) == (429, str(wish))
    assert shop.list() == []


def test_status_answers_the_body_it_was_given(shop, client):
    client.set_faults([{"kind": "status", "status": 401, "body": {"code": "mine"}}])
    response = shop.call("GET", LIST)
    assert (response.status_code, response.json()) == (401, {"code": "mine"})


def test_status_refuses_unless_it_is_executed(shop, client):
    for executed, invoices in ((False, 0), (True, 1)):
        client.set_faults([{"kind": "status", "status": 500, "method": "post", "executed": executed}])
        assert shop.call("POST", LIST, json={"amount": "1"}).status_code == 500
        assert len(shop.list()) == invoices


def test_a_bodiless_status_keeps_the_connection_usable(shop, client):
    client.set_faults([{"kind": "status", "status": 204, "times": 1}])
    assert shop.call("GET", LIST).content == b""
    assert shop.list() == []


def test_hang_does_the_work_and_says_nothing(shop, client, sandbox):
    client.set_faults([{"kind": "hang", "seconds": 60, "method": "POST"}])
    with pytest.raises(requests.ReadTimeout):
        shop.session.post(
            f"{shop.url}/api/v1{LIST}",
            json={"amount": "1"},
            headers={"Authorization": f"token {shop.key}"},
            timeout=0.1,
        )
    assert len(shop.list()) == 1


def test_hang_closes_after_its_seconds(shop, client, sandbox):
    client.set_faults([{"kind": "hang", "seconds": 0.02}])
    assert list(exchange(sandbox)) == []


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drip_sends_one_byte_at_a_time(shop, client, sandbox, part):
    shop.create()
    fault = {"kind": "drip", "seconds_per_byte": 0.0005, "part": part, "times": 1}
    client.set_faults([fault])
    before = time.monotonic()
    assert len(shop.list()) == 1
    assert time.monotonic() - before >= 0.05
    client.set_faults([{**fault, "seconds_per_byte": 0.005}])
    pieces = exchange(sandbox)
    first = next(pieces)[1]
    assert len(first) < 10 if part == "headers" else first.endswith(b"\r\n\r\n")
    assert len(next(pieces)[1]) < 10
    pieces.close()


def test_cut_ends_midway_through_the_body(shop, client, sandbox):
    shop.create()
    client.set_faults([{"kind": "cut"}])
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        shop.call("GET", LIST)
    head, _, body = b"".join(piece for _, piece in exchange(sandbox)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body.startswith(b'[{"id"')


def test_garbage_is_no_json(shop, client):
    client.set_faults([{"kind": "garbage"}])
    response = shop.call("GET", LIST)
    assert response.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        response.json()


@pytest.mark.parametrize(("given", "answered"), [({}, {"result": "ok"}), ({"body": [1, None]}, [1, None])])
def test_wrong_json_is_json_of_another_shape(shop, client, given, answered):
    client.set_faults([{"kind": "wrong_json", **given}])
    response = shop.call("GET", LIST)
    assert (response.status_code, response.json()) == (200, answered)


@pytest.mark.parametrize("size", [9, 100, 1_000_000])
def test_huge_streams_that_many_bytes(shop, client, size):
    client.set_faults([{"kind": "huge", "bytes": size, "times": 1}])
    response = shop.call("GET", LIST)
    assert len(response.content) == size
    assert set(response.json()["id"]) <= {"a"}
    assert shop.list() == []


def test_redirect_points_elsewhere_and_refuses(shop, client):
    client.set_faults([{"kind": "redirect", "location": "http://127.0.0.1:9/x", "times": 1}])
    response = shop.call("POST", LIST, json={"amount": "1"})
    assert (response.status_code, response.headers["Location"]) == (302, "http://127.0.0.1:9/x")
    assert shop.list() == []


def test_rewrite_changes_single_invoices_and_lists(shop, client):
    invoice = shop.create()
    fields = {"id": "another", "storeId": "theirs", "currency": "EUR", "amount": "1.00", "status": "Settled"}
    client.set_faults([{"kind": "rewrite", "fields": fields}, {"kind": "rewrite", "remove": ["metadata"]}])
    for answer in (shop.read(invoice), shop.list()[0]):
        assert fields.items() <= answer.items()
        assert "metadata" not in answer
        assert answer["paidAmount"] == "0.00000000"
    assert client.ledger()["invoices"][0]["status"] == "New"


def test_faults_can_be_narrowed(shop, client):
    client.register_store("other", "other-key")
    invoice = shop.create()

    def hit(fault):
        client.set_faults([{"kind": "status", "status": 503, **fault}])
        calls = [("GET", LIST), ("GET", f"/invoices/{invoice['id']}"), ("GET", "/stores/other")]
        return "".join("x" if shop.call(*call).status_code == 503 else "." for call in calls)

    assert hit({}) == "xxx"
    assert hit({"store": "shop"}) == "xx."
    assert hit({"store": "other"}) == "..x"
    assert hit({"method": "POST"}) == "..."
    assert hit({"path_prefix": "/api/v1/invoices/"}) == ".x."
    assert hit({"times": 1}) == "x.."
    assert hit({"times": 0}) == "..."
    assert hit({"probability": 0}) == "..."


def test_chances_repeat_with_their_seed(shop, client):
    def run(seed):
        client.set_faults([{"kind": "status", "status": 500, "probability": 0.5}], seed=seed)
        return [shop.call("GET", LIST).status_code for _ in range(20)]

    assert run(1) == run(1)
    assert set(run(1)) == {200, 500}
    assert run(1) != run(2)


def test_times_hold_among_racing_requests(shop, client):
    client.set_faults([{"kind": "status", "status": 500, "times": 5}])
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: shop.call("GET", LIST).status_code, range(24)))
    assert statuses.count(500) == 5


def test_the_control_side_knows_no_faults(shop, client):
    client.set_faults([{"kind": "status", "status": 500}])
    assert client.ledger()["invoices"] == []
    client.set_faults([])
    assert shop.list() == []


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
def test_a_malformed_fault_is_refused(client, fault):
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        client.set_faults([fault])
