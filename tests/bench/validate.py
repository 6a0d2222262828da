"""What validating a key costs the web server, beside a route that makes one indexed read."""

import json
import socket
import statistics
import sys
import threading
import time

from sqlalchemy import text

from keysat.db import transaction
from keysat.licenses.grant import grant
from keysat.licenses.signer import load_signer
from keysat.settings import load_settings
from tests.bench.bar import Bar
from tests.builders import make_catalog
from tests.nodes import ProcessContainer

ROUNDS, SECONDS, CONNECTIONS, PORT = 9, 2.0, 8, 8918
FINGERPRINT = "a machine that is known"


def validate_rate_ratio() -> Bar:
    """Validations a second, to bare reads a second, by the same server process."""
    make_catalog("validated")
    signer = load_signer(load_settings().signing_key_file)
    with transaction() as session:
        owned = grant(session, "validated", None, "for the benchmark", signer.key_id, "bench")
    question = {"key": signer.key_for(owned), "product_slug": "validated", "fingerprint": FINGERPRINT}
    ours, bare = _request("POST", "/v1/validate", question), _request("GET", f"/bare/{owned.id}")
    serve = [sys.executable, "-m", "uvicorn", "--factory", "tests.bench.bare_web:create_app", "--port", str(PORT)]
    web = ProcessContainer([*serve, "--no-access-log"], "startup complete")
    try:
        web.ready()
        for request in (ours, bare):
            _rate(request)
        pairs = []
        for number in range(ROUNDS):
            print(f"validating, round {number + 1} of {ROUNDS} ...", flush=True)
            pairs.append((_rate(ours), _rate(bare)))
    finally:
        web.teardown()
        with transaction() as session:
            session.execute(text("TRUNCATE licenses, products CASCADE"))
    rounds = ", ".join(f"{own:.0f}/{yardstick:.0f}" for own, yardstick in pairs)
    figures = f"a second, by round: {rounds}; one process, {CONNECTIONS} connections"
    return Bar("validate to a bare read", statistics.median(own / bare for own, bare in pairs), figures, at_least=0.8)


def _request(method: str, path: str, body: object = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: keysat\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def _rate(request: bytes) -> float:
    """Answers a second, of several connections that each ask again as soon as they are answered."""
    counts: list[int] = []
    until = time.perf_counter() + SECONDS
    threads = [threading.Thread(target=_ask, args=(request, until, counts)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == CONNECTIONS
    return sum(counts) / SECONDS


def _ask(request: bytes, until: float, counts: list[int]) -> None:
    count = 0
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        while time.perf_counter() < until:
            connection.sendall(request)
            answer = connection.recv(65_536)
            while not _whole(answer):
                answer += connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            count += 1
    counts.append(count)


def _whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
