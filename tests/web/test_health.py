"""Alive without its dependencies, and ready only with all of them."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from keysat.embedded.commands import child_environment
from tests.nodes import ProcessContainer, wait_until

ANYWHERE_CLOSED = "127.0.0.1:9"


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def start_web(settings, port):
    """Starts `keysat web` as a separate process with separate settings. Returns its URL."""
    started = []

    def start(**changed):
        environment = {**child_environment(settings), "KEYSAT_WEB_PORT": str(port), **changed}
        started.append(ProcessContainer([sys.executable, "-m", "keysat", "web"], "Keysat listens at", environment))
        assert started[-1].ready()
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.teardown()


def answer(url):
    return requests.get(url, timeout=120)


def test_ready_lists_its_checks(api):
    wait_until(lambda: api.get("/readyz").status_code == 200)  # a busy machine may need longer than a check has
    ready = api.get("/readyz").json()
    assert ready == {"ok": True, "checks": dict.fromkeys(["database", "schema", "signing key", "broker"], "ok")}
    assert api.get("/livez").json() == {"ok": True}


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"DATABASE_URL": f"postgresql://keysat@{ANYWHERE_CLOSED}/keysat"}, "database, schema, signing key"),
        ({"BROKER_URL": f"redis://{ANYWHERE_CLOSED}/0"}, "broker"),
        ({"KEYSAT_SIGNING_KEY_FILE": "/nowhere/signing.key"}, "signing key"),
    ],
    ids=["no database", "no broker", "no key"],
)
def test_web_without_dependencies(start_web, changed, missing):
    """The web server starts and runs, and names what is missing."""
    url = start_web(**changed)
    assert answer(f"{url}/livez").status_code == 200
    ready = answer(f"{url}/readyz")
    assert ready.status_code == 503
    assert ready.json() == {"ok": False, "error": "service_unavailable", "message": f"not ready: {missing}."}


def test_hung_broker_does_not_hang_the_answer(start_web):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = start_web(BROKER_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        ready = answer(f"{url}/readyz")
    assert ready.json()["message"] == "not ready: broker."
    assert time.monotonic() - began < 30  # on a busy machine


def test_routes_without_database(start_web):
    """Every route returns unavailable, and none a 4xx."""
    url = start_web(DATABASE_URL=f"postgresql://keysat@{ANYWHERE_CLOSED}/keysat")
    webhook = "/v1/btcpay/webhook/01a21076-4515-7464-8cda-93e2d050f870"
    for method, path, body in (("POST", webhook, {}), ("POST", "/v1/purchase", {"product": "editor"})):
        refused = requests.request(method, url + path, json=body, timeout=120)
        assert (refused.status_code, refused.json()["error"]) == (503, "service_unavailable")
        assert ANYWHERE_CLOSED not in refused.text
        assert "Retry-After" in refused.headers


def test_sigterm_lets_a_running_request_finish_and_ends_with_success(settings, port):
    environment = {**os.environ, **child_environment(settings), "KEYSAT_WEB_PORT": str(port)}
    process = ProcessContainer([sys.executable, "-m", "keysat", "web"], "Keysat listens at", environment)
    try:
        assert process.ready()
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /v1/purchase HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{")
            assert answer(f"http://127.0.0.1:{port}/livez").status_code == 200  # so the other request has come in
            os.kill(process.pid, signal.SIGTERM)
            wait_until(lambda: refuses_connections(port))
            slow.sendall(b"}")
            assert slow.recv(65_536).startswith(b"HTTP/1.1 400 ")
        wait_until(lambda: process.exit_code is not None)
        assert process.exit_code == 0
    finally:
        process.teardown()


def refuses_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_second_server_on_a_port_is_refused_in_one_sentence(settings, start_web, port):
    start_web()
    environment = {**os.environ, **child_environment(settings), "KEYSAT_WEB_PORT": str(port)}
    second = subprocess.run(
        [sys.executable, "-m", "keysat", "web"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == (
        f"keysat: the web server can't listen on 127.0.0.1:{port} (Address already in use); "
        "set KEYSAT_WEB_HOST and KEYSAT_WEB_PORT."
    )
