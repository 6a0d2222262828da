"""What validating a key takes while purchases of one address hang at their provider."""

import json
import random
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.embedded.commands import child_environment
from keysat.licenses.signer import load_signer
from keysat.sales.grant import grant
from tests.bench.bar import Bar
from tests.builders import make_account, make_catalog
from tests.nodes import ProcessContainer

PURCHASES, LICENSES, ROUNDS, VALIDATIONS = 40, 50, 4, 250


def delay_by_hanging_purchases() -> Bar:
    """The p99 of validations beside purchases that hang, to the usual p99, in turns."""
    usual: list[float] = []
    beside: list[float] = []
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent, socket.create_server(("127.0.0.1", 0)) as free:
        make_catalog("hanging")
        make_account("hanging", kind="btcpay", base_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        questions, port = _questions(), free.getsockname()[1]
        free.close()
        web = _serve(port)
        try:
            _ask(port, questions)  # the machines take their seats, and the route gets warm
            for number in range(ROUNDS):
                print(f"validating beside {PURCHASES} hanging purchases, {number + 1} of {ROUNDS} ...", flush=True)
                usual += _ask(port, questions)
                beside += _beside_purchases(port, questions)
        finally:
            web.teardown()
    with transaction() as session:
        session.execute(text("TRUNCATE licenses, products, provider_accounts CASCADE"))
    figures = f"p99 {_p99(usual) * 1000:.1f} ms, beside {PURCHASES} of them {_p99(beside) * 1000:.1f} ms"
    what = "p99 of validations beside hanging purchases, to the usual"
    return Bar(what, _p99(beside) / _p99(usual), figures, at_most=2.0)


def _serve(port: int) -> ProcessContainer:
    own = {"KEYSAT_WEB_PORT": str(port), "KEYSAT_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "keysat", "web"]
    web = ProcessContainer(command, "Keysat listens at", {**child_environment(load_settings()), **own})
    web.ready()
    return web


def _questions() -> list[bytes]:
    signer = load_signer(load_settings().signing_key_file)
    with transaction() as session:
        owned = [grant(session, "hanging", None, "benchmark", signer.key_id, "bench") for _ in range(LICENSES)]
    return [
        _request("/v1/validate", {"key": signer.key_for(row), "product_slug": "hanging", "fingerprint": str(row.id)})
        for row in owned
    ]


def _request(path: str, body: dict[str, str]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: keysat\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _beside_purchases(port: int, questions: list[bytes]) -> list[float]:
    """The same while purchases continue. They open each closed breaker again."""
    over = threading.Event()

    def buy() -> None:
        while not over.is_set():
            with socket.create_connection(("127.0.0.1", port), timeout=30) as buyer:
                buyer.sendall(_request("/v1/purchase", {"product": "hanging"}))
                buyer.recv(65_536)
            over.wait(random.uniform(2, 6))  # not all at once, which would be a storm

    with ThreadPoolExecutor(PURCHASES) as buyers:
        for _ in range(PURCHASES):
            buyers.submit(buy)
        try:
            time.sleep(3)  # the first burst is over, and those that have a place hang
            return _ask(port, questions)
        finally:
            over.set()


def _ask(port: int, questions: list[bytes]) -> list[float]:
    """The seconds of each of many validations over one connection."""
    seconds = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for number in range(VALIDATIONS):
            began = time.perf_counter()
            connection.sendall(questions[number % len(questions)])
            answer = b""
            while not answer.endswith(b"}"):
                part = connection.recv(65_536)
                assert part, f"the connection was closed after {answer!r}"
                answer += part
            seconds.append(time.perf_counter() - began)
            assert b'"ok":true' in answer, answer
    return seconds


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]
