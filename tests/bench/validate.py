"""What validating a key costs the web server, beside a route of the same server that makes one indexed read."""

import itertools
import json
import socket
import statistics
import sys
import threading
import time

from sqlalchemy import text

from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.licenses.signer import load_signer
from keysat.models import License
from keysat.sales.grant import grant
from tests.bench.bar import Bar
from tests.builders import make_catalog
from tests.nodes import ProcessContainer

ROUNDS, SECONDS, CONNECTIONS, LICENSES, PORT = 15, 1.0, 8, 200, 8918


def validate_rate_ratio() -> Bar:
    """Validations a second, to bare reads a second. All keys are valid and were seen before, all machines are known."""
    make_catalog("validated")
    ours, bare = _requests()
    serve = [sys.executable, "-m", "uvicorn", "--factory", "tests.bench.bare_web:create_app", "--port", str(PORT)]
    web = ProcessContainer([*serve, "--no-access-log"], "startup complete")
    try:
        web.ready()
        for requests in (ours, bare):  # the machines take their seats, and both routes get warm
            _rate(requests)
        pairs = []
        for number in range(ROUNDS):
            print(f"validating, round {number + 1} of {ROUNDS} ...", flush=True)
            pairs.append((_rate(ours), _rate(bare)))
    finally:
        web.teardown()
        with transaction() as session:
            session.execute(text("TRUNCATE licenses, products CASCADE"))
    ratio = statistics.median(own / yardstick for own, yardstick in pairs)
    rounds = ", ".join(f"{own:.0f}/{yardstick:.0f}" for own, yardstick in pairs)
    setting = f"one process, {CONNECTIONS} connections, {LICENSES} keys, all seen before"
    return Bar("validate to a bare read", ratio, f"a second, by round: {rounds}; {setting}", at_least=0.8)


def _requests() -> tuple[list[bytes], list[bytes]]:
    signer = load_signer(load_settings().signing_key_file)
    with transaction() as session:
        owned = [grant(session, "validated", None, "benchmark", signer.key_id, "bench") for _ in range(LICENSES)]
    ours = [_request("POST", "/v1/validate", _question(signer.key_for(row), row)) for row in owned]
    return ours, [_request("GET", f"/bare/{row.id}") for row in owned]


def _question(key: str, row: License) -> bytes:
    return json.dumps({"key": key, "product_slug": "validated", "fingerprint": f"the machine of {row.id}"}).encode()


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: keysat\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _rate(requests: list[bytes]) -> float:
    """Responses a second, over several connections that each repeat their request at once."""
    counts: list[int] = []
    until = time.perf_counter() + SECONDS
    shares = [itertools.cycle(requests[number::CONNECTIONS]) for number in range(CONNECTIONS)]
    threads = [threading.Thread(target=_ask, args=(share, until, counts)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == CONNECTIONS
    return sum(counts) / SECONDS


def _ask(requests, until: float, counts: list[int]) -> None:
    """Send requests over one connection. A client library would be slower than the server."""
    count = 0
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        while time.perf_counter() < until:
            connection.sendall(next(requests))
            answer = connection.recv(65_536)
            while not _whole(answer):
                answer += connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert b'"ok":false' not in answer, answer
            count += 1
    counts.append(count)


def _whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
