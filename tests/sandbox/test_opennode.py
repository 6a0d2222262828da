"""The sandbox as OpenNode: charges over the same ledger, and signed callbacks to each charge's own URL."""

import hashlib
import hmac
import queue
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl

import pytest

KEY = "api-key-of-opennode"
CHARGE = {"amount": 2_100, "order_id": "ours-1", "description": "A license"}


class Charges:
    """A merchant's view of OpenNode."""

    def __init__(self, url, session):
        self.url, self.session, self.key = url, session, KEY

    def call(self, method, path, **options):
        headers = {"Authorization": self.key} if self.key else {}
        return self.session.request(method, f"{self.url}/v1{path}", headers=headers, timeout=120, **options)

    def create(self, **changes):
        response = self.call("POST", "/charges", json={**CHARGE, **changes})
        assert response.status_code == 201, response.text
        return response.json()["data"]

    def read(self, charge):
        return self.call("GET", f"/charge/{charge['id']}").json()["data"]


@pytest.fixture
def charges(sandbox_server, sandbox, session):
    sandbox.register_store("merchant", KEY, kind="opennode")
    return Charges(sandbox_server.url, session)


def test_charge_has_its_price_order_and_page(charges, sandbox_server):
    charge = charges.create(callback_url="http://127.0.0.1:9/hook", success_url="https://shop.example/")
    assert charge == charges.read(charge)
    assert (charge["amount"], charge["currency"], charge["status"]) == (2_100, "BTC", "unpaid")
    assert (charge["order_id"], charge["success_url"]) == ("ours-1", "https://shop.example/")
    assert charge["hosted_checkout_url"] == f"{sandbox_server.url}/charge/{charge['id']}"


def test_price_in_another_currency_is_converted(charges, sandbox):
    charge = charges.create(amount="19.99", currency="EUR")
    assert (charge["amount"], charge["currency"], charge["source_fiat_value"]) == (19_990, "EUR", 19.99)
    sandbox.pay(charge["id"])
    assert charges.read(charge)["transactions"][0]["amount"] == 19_990


PAYMENTS = {
    "unpaid": lambda client, charge: None,
    "underpaid": lambda client, charge: client.pay(charge, "0.00002000"),
    "processing": lambda client, charge: client.pay(charge, confirmations=0),
    "paid": lambda client, charge: client.pay(charge),
    "expired": lambda client, charge: client.pay(charge, late=True),
    "failed": lambda client, charge: client.mark(charge, "Invalid"),
    "refunded": lambda client, charge: (client.pay(charge), client.refund(charge)),
}


@pytest.mark.parametrize("status", PAYMENTS)
def test_each_way_of_paying_has_its_status(charges, sandbox, status):
    charge = charges.create()
    PAYMENTS[status](sandbox, charge["id"])
    assert charges.read(charge)["status"] == status


def test_underpaid_charge_says_what_is_missing(charges, sandbox):
    charge = charges.create()
    sandbox.pay(charge["id"], "0.00002000")
    assert charges.read(charge)["missing_amt"] == 100
    sandbox.pay(charge["id"], "0.00000101")
    assert (charges.read(charge)["status"], charges.read(charge)["overpaid_by"]) == ("paid", 1)


@pytest.mark.parametrize("key", ["", "another-key", "api-key-of-shop"])
def test_without_the_right_key_nothing_is_shown(charges, merchant, key):
    charge = charges.create()
    charges.key = key
    for method, path in (("POST", "/charges"), ("GET", f"/charge/{charge['id']}")):
        assert charges.call(method, path).status_code == 401


def test_merchant_sees_own_charges_alone(charges, sandbox):
    charge = charges.create()
    sandbox.register_store("other", "key-of-other", kind="opennode")
    charges.key = "key-of-other"
    assert charges.call("GET", f"/charge/{charge['id']}").status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": "2100"},
        {"amount": 21.5},
        {"amount": None},
        {"amount": "many", "currency": "EUR"},
        {"currency": "XAU"},
        {"order_id": 7},
        {"typo": 1},
    ],
    ids=str,
)
def test_charge_of_another_form_is_refused(charges, changes):
    response = charges.call("POST", "/charges", json={**CHARGE, **changes})
    assert response.status_code == 400
    assert response.json()["success"] is False


def test_rewritten_fields_are_those_of_the_charge(charges, sandbox):
    charge = charges.create()
    sandbox.set_faults([{"kind": "rewrite", "fields": {"status": "SOMETHING"}}])
    assert charges.read(charge)["status"] == "SOMETHING"


# Callbacks.


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.came.put((dict(self.headers), dict(parse_qsl(body.decode(), keep_blank_values=True))))

    def log_message(self, *_):
        pass


@contextmanager
def receiving_forms():
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    server.came = queue.Queue()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def callback_receiver(sandbox_server):
    with receiving_forms() as server:
        yield server
        sandbox_server.stop()


def test_callback_is_a_form_signed_by_the_api_key(charges, sandbox, callback_receiver):
    charge = charges.create(callback_url=f"http://127.0.0.1:{callback_receiver.server_port}/hook")
    sandbox.pay(charge["id"])
    headers, first = callback_receiver.came.get(timeout=60)
    _, second = callback_receiver.came.get(timeout=60)
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert [first["status"], second["status"]] == ["processing", "paid"]
    assert (second["id"], second["order_id"], second["price"]) == (charge["id"], "ours-1", "2100")
    assert second["hashed_order"] == hmac.new(KEY.encode(), charge["id"].encode(), hashlib.sha256).hexdigest()


def test_callbacks_come_at_a_new_status_alone(charges, sandbox, callback_receiver):
    charge = charges.create(callback_url=f"http://127.0.0.1:{callback_receiver.server_port}/hook")
    sandbox.pay(charge["id"], "0.00002000")
    sandbox.expire(charge["id"])
    assert [callback_receiver.came.get(timeout=60)[1]["status"] for _ in range(2)] == ["underpaid", "expired"]
    assert sandbox.ledger()["webhooks"]["sent"] == 2


def test_charge_without_a_url_has_no_callback(charges, sandbox):
    sandbox.pay(charges.create()["id"])
    assert sandbox.ledger()["webhooks"]["sent"] == 0
