"""From a provider's webhook to the license: how long when idle, and whether disorder changes anything."""

import statistics
import sys
import time
from contextlib import contextmanager

import requests
from sqlalchemy import text

from keysat.core.db import reading, transaction
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.tasks.app import app
from tests.bench.bar import Bar
from tests.bench.bare_task import ECHOES, echo
from tests.builders import load_account, make_catalog
from tests.nodes import ProcessContainer, wait_until, worker_command
from tests.webhooks.replay import SENDERS, await_quiet, badly, deliver, outcome, play

PURCHASES, INVOICES, CONCURRENCY, PORT = 200, 500, 2, 8917


def seconds_to_license() -> Bar:
    """Seconds from a webhook to the license, the hundredth part of them left out."""
    with _shop() as (client, web_url):
        return _seconds_to_license(client, web_url)


def states_after_disorder() -> Bar:
    """Invoices whose final state is the same after disorder as after webhooks in order, to all."""
    with _shop() as (client, web_url):
        return _disorder(client, web_url)


@contextmanager
def _shop():
    """A sandbox, a catalog, a worker and a web server, all removed afterwards."""
    with Sandbox() as server, SandboxClient(server.url) as client, _running() as web_url:
        client.url = server.url
        make_catalog("sold")
        try:
            yield client, web_url
        finally:
            with transaction() as session:
                session.execute(text("TRUNCATE invoices, products, provider_accounts CASCADE"))


@contextmanager
def _running():
    """A worker, and the web server as a process of its own."""
    worker = ProcessContainer(worker_command("tests.bench.bare_task", CONCURRENCY), " ready.")
    serve = [sys.executable, "-m", "uvicorn", "--factory", "keysat.web.app:create_app", "--port", str(PORT)]
    web = ProcessContainer([*serve, "--no-access-log"], "startup complete")
    try:
        worker.ready()
        web.ready()
        yield f"http://127.0.0.1:{PORT}"
    finally:
        web.teardown()
        worker.teardown()


def _seconds_to_license(client: SandboxClient, web_url: str) -> Bar:
    print(f"{PURCHASES} webhooks to an idle Keysat, one after the other ...", flush=True)
    events = play(client, client.url, "one-by-one", PURCHASES, product="sold", only_paid=True)
    url = f"{web_url}/v1/btcpay/webhook/{load_account('one-by-one').id}"
    took, trips = [], []
    with requests.Session() as session:
        for event in events:
            if event.kind != "InvoiceSettled":
                continue
            began = time.time()
            assert session.post(url, data=event.body, headers={"BTCPay-Sig": event.signature}).status_code == 200
            took.append(wait_until(lambda event=event: _fulfilled_at(event.invoice_id)).timestamp() - began)
            trips.append(_round_trip())
    median, worst = statistics.median(took), statistics.quantiles(took, n=100)[98]
    bare = statistics.median(trips)
    figures = (
        f"median {median * 1000:.0f} ms, {median / bare:.1f} times a bare Celery round trip of {bare * 1000:.1f} ms; "
        f"{len(took)} webhooks, idle"
    )
    return Bar("seconds from webhook to license, p99", worst, figures, at_most=1.0)


def _fulfilled_at(provider_invoice_id: str):
    wanted = text("SELECT fulfilled_at FROM invoices WHERE provider_invoice_id = :id AND fulfilled_at IS NOT NULL")
    with reading() as session:
        return session.scalar(wanted, {"id": provider_invoice_id})


def _round_trip() -> float:
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        began = time.perf_counter()
        echo.delay()
        assert client.blpop(ECHOES, timeout=10)
        return time.perf_counter() - began


def _disorder(client: SandboxClient, web_url: str) -> Bar:
    print(f"webhooks of {INVOICES} invoices, in order; then 5 times each, shuffled, 10 % forged ...", flush=True)
    good = play(client, client.url, "in-order", INVOICES, product="sold")
    deliver(web_url, "in-order", good)
    await_quiet()
    bad = badly(play(client, client.url, "badly", INVOICES, product="sold"))
    began = time.perf_counter()
    answers = deliver(web_url, "badly", bad, SENDERS)
    await_quiet()
    seconds = time.perf_counter() - began
    pairs = list(zip(outcome("in-order"), outcome("badly"), strict=True))
    same = sum(first == second for first, second in pairs)
    figures = (
        f"{same} of {len(pairs)} invoices alike; {len(bad):,} deliveries in {seconds:.0f} s, "
        f"{answers.get(200, 0):,} taken, {answers.get(401, 0):,} forged ones refused"
    )
    ratio = same / len(pairs) if set(answers) == {200, 401} else 0.0
    return Bar("final states after disorder, to those in order", ratio, figures, at_least=1.0)
