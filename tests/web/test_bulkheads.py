"""A provider or a broker that hangs takes no thread of the requests that don't need it."""

import dis
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import requests

from keysat.codes.manage import NewCode, add_code
from keysat.core import background
from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.licenses.signer import load_signer
from keysat.models.api_key import Scope
from keysat.models.discount_code import CodeKind
from keysat.operations.api_keys import create_key
from keysat.operations.why import State
from keysat.sales.grant import grant
from keysat.web import bulkhead, health, limits
from keysat.web.app import create_app
from keysat.web.tokens import page_of
from tests.builders import load_invoice, make_account, make_catalog, set_account
from tests.nodes import wait_until
from tests.serving import serving
from tests.web.pages.states import make_purchase
from tests.web.test_roles import contexts

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")
PURCHASES = 40
# Routes whose work manages its own transactions, and calls no provider in between.
CALL_NOBODY = {
    "/me",
    "/v1/admin/invoices/{invoice_id}/restore",
    "/v1/admin/invoices/{invoice_id}/settle",
    "/v1/licenses/file",
    "/v1/machines/activate",
    "/v1/machines/file",
    "/v1/subscriptions/cancel",
    "/v1/machines/deactivate",
    "/v1/machines/heartbeat",
    "/v1/machines/list",
    "/v1/machines/{machine_id}/deactivate",
    "/v1/redeem",
    "/v1/validate",
}


class Hanging:
    """A server that accepts connections and sends nothing."""

    def __init__(self):
        self.taken = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self):
        try:
            while True:
                self.taken.append(self._listener.accept()[0])
        except OSError:
            return

    def close(self):
        if not self._thread.is_alive():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.taken:
            connection.close()


@contextmanager
def hanging():
    server = Hanging()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def license_key():
    make_catalog()
    signer = load_signer(load_settings().signing_key_file)
    with transaction() as session:
        return signer.key_for(grant(session, "editor", None, "test", signer.key_id, "test"))


@pytest.fixture
def hung_broker(monkeypatch, servers):
    """The settings name a broker that hangs. What was found of it isn't kept for other tests."""
    with hanging() as server:
        monkeypatch.setattr(health, "_readiness", health.Readiness())
        monkeypatch.setenv("BROKER_URL", f"redis://127.0.0.1:{server.port}/0")
        load_settings.cache_clear()
        yield server
        monkeypatch.undo()
        load_settings.cache_clear()


def post(url, path, body, **headers):
    return requests.post(url + path, json=body, headers=headers, timeout=120)


def test_validations_are_answered_while_all_purchases_hang(license_key):
    with hanging() as provider, serving(create_app()) as url, ThreadPoolExecutor(PURCHASES) as buyers:
        make_account(kind="btcpay", base_url=f"http://127.0.0.1:{provider.port}")
        purchases = [buyers.submit(post, url, "/v1/purchase", {"product": "editor"}) for _ in range(PURCHASES)]
        wait_until(lambda: len(provider.taken) >= bulkhead.PLACES)
        for _ in range(20):
            assert post(url, "/v1/validate", {"key": license_key, "product_slug": "editor"}).json()["ok"]
        assert not all(purchase.done() for purchase in purchases)  # some hang still
        provider.close()
        answers = [purchase.result() for purchase in purchases]
    assert {answer.status_code for answer in answers} <= {502, 503}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


@pytest.mark.parametrize("path", ["page", "admin"])
def test_requests_beyond_the_places_of_a_hanging_provider_are_refused(fake_shop, monkeypatch, path):
    """Buyers who pay a rest, and operators who check an invoice by hand, don't use up all threads."""
    monkeypatch.setattr(bulkhead, "WAIT_SECONDS", 0.01)
    short = make_purchase(State.SHORT)
    with transaction() as session:
        key = create_key(session, "shop", Scope.WRITE, actor="cli")
    target = f"/p/{page_of(short).rpartition('/')[2]}/rest"
    if path == "admin":
        target = f"/v1/admin/invoices/{short}/reconcile"
    app = create_app()
    with hanging() as provider, serving(app) as url, ThreadPoolExecutor(1) as caller:
        set_account("main", kind="btcpay", base_url=f"http://127.0.0.1:{provider.port}")
        app.state.provider_places = bulkhead.Places(1)
        first = caller.submit(post, url, target, {}, Authorization=f"Bearer {key}")
        wait_until(lambda: provider.taken)
        assert post(url, target, {}, Authorization=f"Bearer {key}").status_code == 503
        provider.close()
        assert first.result().status_code in {502, 503}
    assert load_invoice(short).status == "expired"


def may_call_a_provider(function, seen=()):
    """Whether a function, or one of its module that it uses, hands out the database.

    A provider is never called inside a transaction, so what calls one manages its own.
    """
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    home = function.__globals__
    own = [home[name] for name in names if getattr(home.get(name), "__module__", "") == home["__name__"]]
    further = [found for found in own if hasattr(found, "__code__") and found not in {*seen, function}]
    return "DATABASE" in names or any(may_call_a_provider(found, {*seen, function}) for found in further)


def test_each_route_that_may_call_a_provider_takes_a_place():
    callers = [found for found in contexts(create_app()) if may_call_a_provider(found.endpoint)]
    limited = {
        found.path for found in callers for each in found.dependencies if each.dependency is bulkhead.provider_place
    }
    without = {found.path for found in callers} - limited
    assert without == CALL_NOBODY
    assert len(limited) >= 8


def test_delivery_with_hung_broker(license_key, monkeypatch):
    """A request that creates a delivery doesn't wait for a hung broker."""
    with transaction() as session:
        add_code(session, NewCode("GIFT", CodeKind.FREE_LICENSE, max_uses=None), actor="cli")
    hold, held = threading.Event(), threading.Event()
    monkeypatch.setattr("keysat.tasks.wake.send_deliveries", lambda _: [held.set(), hold.wait(30)])
    with serving(create_app()) as url:
        try:
            answer = post(url, "/v1/redeem", {"product": "editor", "code": "GIFT"})
            assert answer.status_code == 200
        finally:
            hold.set()


def test_limits_with_hung_broker(hung_broker):
    """Limits wait for a hung broker in few threads, and then pause."""
    server = limits._Server(load_settings().broker_url)
    rule = limits._rule("5/minute")
    with ThreadPoolExecutor(20) as threads:
        waits = list(threads.map(lambda number: server.wait(rule, (str(number),)), range(60)))
    assert waits == [None] * 60
    assert len(hung_broker.taken) <= limits._SERVER_PLACES


def test_job_that_fails_or_is_too_many_stops_no_other():
    jobs, go, done = background.Jobs(), threading.Event(), []
    with ExitStack() as after:
        after.callback(go.set)
        assert jobs.put(lambda: go.wait(30))
        assert jobs.put(lambda: 1 / 0)
        taken = [jobs.put(lambda: done.append(1)) for _ in range(background.MAX_JOBS + 10)]
        assert not taken[-1]
    wait_until(lambda: len(done) == taken.count(True))


def test_readiness_concurrent_requests(hung_broker, license_key):
    """Sixty concurrent requests need few connections to the broker."""
    with serving(create_app()) as url, ThreadPoolExecutor(60) as callers:
        asked = [callers.submit(requests.get, f"{url}/readyz", timeout=120) for _ in range(60)]
        wait_until(lambda: hung_broker.taken)
        assert post(url, "/v1/validate", {"key": license_key, "product_slug": "editor"}).json()["ok"]
        assert {answer.result().status_code for answer in asked} == {503}
    assert len(hung_broker.taken) <= 8
