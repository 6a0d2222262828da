import signal
import subprocess
import sys

import pytest
import requests

from keysat.core.errors import RemoteNotFound, RemoteRefused, RemoteResponseInvalid, RemoteUnavailable
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import AddressUnusable, Sandbox


def test_requests_are_counted_on_the_providers_side_only(merchant, sandbox):
    first, second = merchant.create(), merchant.create()
    for invoice in (first, first, second):
        merchant.read(invoice)
    merchant.list()
    merchant.call("GET", "/nonsense")
    merchant.call("POST", f"/invoices/{first['id']}/status", json={"status": "Settled"})
    made = sandbox.requests_made()
    assert made["by_route"] == {
        "POST invoices": 2,
        "GET invoice": 3,
        "GET invoices": 1,
        "GET unknown": 1,
        "POST status": 1,
    }
    assert (made["total"], made["by_store"]) == (8, {"shop": 7})
    assert made["invoice_reads"] == {first["id"]: 2, second["id"]: 1}
    assert sandbox.ledger()["requests"] == {k: v for k, v in made.items() if k != "invoice_reads"}


def test_reset_forgets_all(merchant, sandbox, merchant_receiver):
    sandbox.set_faults([{"kind": "status", "status": 500}])
    sandbox.set_webhooks(drop=1.0)
    merchant.call("GET", "/stores/shop")
    sandbox.reset()
    empty = {"total": 0, "by_store": {}, "by_route": {}}
    nothing = {"sent": 0, "dropped": 0, "delivered": 0, "failed": 0}
    assert sandbox.ledger() == {"invoices": [], "webhooks": nothing, "requests": empty}
    assert merchant.call("GET", "/stores/shop").status_code == 401


def test_registering_again_replaces_the_key_and_keeps_the_invoices(merchant, sandbox):
    invoice = merchant.create()
    sandbox.register_store("shop", "new-key")
    assert merchant.call("GET", "/stores/shop").status_code == 401
    merchant.key = "new-key"
    assert merchant.read(invoice) == invoice


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "stores/shop", b"{", 400),
        ("PUT", "stores/shop", b"[]", 400),
        ("PUT", "stores/shop", b"{}", 400),
        ("PUT", "stores/shop", b'{"api_key": ""}', 400),
        ("PUT", "stores/shop", b'{"api_key": "x", "typo": 1}', 400),
        ("PUT", "faults", b'{"faults": {}}', 400),
        ("PUT", "faults", b'{"faults": [1]}', 400),
        ("PUT", "faults", b'{"faults": [], "seed": 1.5}', 400),
        ("PUT", "webhooks", b'{"delay_seconds": 1}', 400),
        ("PUT", "webhooks", b"[" * 100_000, 400),
        ("PUT", "webhooks", b'{"drop": 1e999999999}', 400),
        ("PUT", "webhooks", b'{"drop": 1e9999999999999999999999}', 400),
        ("POST", "invoices/x/fly", b"{}", 404),
        ("POST", "invoices/x/expire", b'{"now": true}', 400),
        ("GET", "nothing", b"", 404),
        ("PATCH", "ledger", b"", 501),
    ],
)
def test_wrong_control_input_gets_a_sentence(sandbox_server, session, method, path, body, status):
    response = session.request(method, f"{sandbox_server.url}/sandbox/{path}", data=body, timeout=120)
    assert response.status_code == status
    if status != 501:
        message = response.json()["message"]
        assert message.endswith(".")
        assert "Traceback" not in message


def test_stopping_cuts_what_hangs_and_frees_the_port(session):
    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        client.set_faults([{"kind": "latency", "seconds": 60}])
        host, port = sandbox.url.removeprefix("http://").split(":")
        with pytest.raises(requests.ReadTimeout):
            session.get(f"{sandbox.url}/api/v1/stores/x", timeout=0.05)
    with Sandbox(int(port), host) as again:
        assert again.url == sandbox.url


def test_a_taken_port_is_said_in_a_sentence(sandbox_server):
    taken = int(sandbox_server.url.rpartition(":")[2])
    for port in (taken, 99_999):
        with pytest.raises(AddressUnusable, match="choose another port"):
            Sandbox(port).start()


def test_the_ledger_can_be_used_in_process(sandbox_server, merchant):
    invoice = merchant.create()
    sandbox_server.ledger.pay(invoice["id"])
    assert merchant.state(invoice) == "Settled/None"


def test_client_names_the_error(sandbox_server, sandbox):
    with pytest.raises(RemoteNotFound, match="no invoice nothing"):
        sandbox.expire("nothing")
    with pytest.raises(RemoteRefused, match="api_key"):
        sandbox.register_store("shop", "")
    with SandboxClient(f"{sandbox_server.url}/api/v1/stores/shop/invoices?x=") as client, pytest.raises(RemoteRefused):
        client.ledger()
    sandbox_server.stop()
    with SandboxClient(sandbox_server.url) as gone, pytest.raises(RemoteUnavailable, match="no sandbox responds"):
        gone.ledger()


def test_the_client_notices_another_server(merchant_receiver):
    url = merchant_receiver.url.removesuffix("/hook")
    with SandboxClient(url) as client, pytest.raises(RemoteResponseInvalid):
        client.ledger()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal(session, number):
    command = [sys.executable, "-m", "keysat.sandbox", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert line.startswith("sandbox ready at http://127.0.0.1:")
        assert session.get(f"{line.split()[-1]}/sandbox/ledger", timeout=120).status_code == 200
        process.send_signal(number)
        assert process.wait(5) == 0


@pytest.mark.slow
def test_the_command_refuses_a_taken_port(sandbox_server):
    command = [sys.executable, "-m", "keysat.sandbox", "--port", sandbox_server.url.rpartition(":")[2]]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "choose another port" in ended.stderr
