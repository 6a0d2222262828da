import json
import queue
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.btcpay_openapi import validator, webhook_validator

SECRET = "a-secret-of-at-least-24-bytes"
KEY = "api-key-of-shop"
SECONDS = 60


class Clock:
    """Unix seconds that only a test changes."""

    def __init__(self):
        self.now = 1_800_000_000.25

    def __call__(self):
        return self.now


class Shop:
    """A merchant's view of the sandbox. Each JSON response is validated against BTCPay's schema."""

    def __init__(self, url, session, key=KEY, store="shop"):
        self.url, self.session, self.key, self.store = url, session, key, store

    def call(self, method, path, **options):
        headers = {"Authorization": f"token {self.key}"} if self.key else {}
        return self.session.request(
            method, f"{self.url}/api/v1{path}", headers=headers, timeout=SECONDS, allow_redirects=False, **options
        )

    def ok(self, schema, method, path, **options):
        response = self.call(method, path, **options)
        assert response.status_code == 200, response.text
        validator(schema).validate(response.json())
        return response.json()

    def create(self, amount="0.00002100", **body):
        body = {"amount": amount, "currency": "BTC", **body}
        return self.ok("InvoiceData", "POST", f"/stores/{self.store}/invoices", json=body)

    def read(self, invoice):
        return self.ok("InvoiceData", "GET", f"/stores/{self.store}/invoices/{invoice['id']}")

    def state(self, invoice):
        answer = self.read(invoice)
        return f"{answer['status']}/{answer['additionalStatus']}"

    def list(self, **params):
        return self.ok("InvoiceDataList", "GET", f"/stores/{self.store}/invoices", params=params)


class Receiver:
    """Receives and records webhooks, and responds with the given statuses, then with 200."""

    def __init__(self, url):
        self.url, self.statuses, self.came = url, [], queue.Queue()

    def next(self):
        event, headers, body = self.came.get(timeout=SECONDS)
        webhook_validator(event["type"]).validate(event)
        self.last_headers, self.last_body = headers, body
        return event

    def types(self, count):
        return [self.next()["type"] for _ in range(count)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.server.receiver
        status = receiver.statuses.pop(0) if receiver.statuses else 200
        if status is None:
            self.close_connection = True
        else:
            self.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        receiver.came.put((json.loads(body), dict(self.headers), body))

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)

    def stop(self):
        """End persistent connections too: urllib3 closes its end only at garbage collection."""
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextmanager
def receiving():
    server = _Server(("127.0.0.1", 0), _Handler)
    server.connections = []
    server.receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.receiver
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sandbox_server(clock):
    with Sandbox(clock=clock, retry_delays=(0.01, 0.01)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_server):
    with SandboxClient(sandbox_server.url) as client:
        yield client


@pytest.fixture
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def merchant(sandbox_server, sandbox, session):
    sandbox.register_store("shop", KEY)
    return Shop(sandbox_server.url, session)


@pytest.fixture
def merchant_receiver(sandbox_server, sandbox, merchant):
    with receiving() as receiver:
        sandbox.register_store("shop", KEY, receiver.url, SECRET)
        yield receiver
        sandbox_server.stop()
