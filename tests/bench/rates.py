"""What Keysat adds to a bare Celery task that makes the same query, on the same worker, in the same run."""

import statistics
import subprocess
import sys
import time

from sqlalchemy import text

from keysat.core.db import transaction
from keysat.sandbox.client import SandboxClient
from keysat.tasks.tasks import reconcile_invoice
from tests.bench.bar import Bar
from tests.bench.bare_task import bare_query
from tests.builders import STORE, make_account, make_catalog, make_invoice
from tests.nodes import ProcessContainer, wait_until, worker_command

MESSAGES, INVOICES, ROUNDS, CONCURRENCY = 2_000, 100, 5, 2
API_KEY = "key-of-test-store"


def reconcile_rate_ratio() -> Bar:
    """Still-pending reconciles a second, to bare queries a second."""
    command = [sys.executable, "-u", "-m", "keysat.sandbox", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sandbox:
        try:
            url = sandbox.stderr.readline().split()[-1]
            with SandboxClient(url) as client:
                return _compare(client, url)
        finally:
            with transaction() as session:
                session.execute(text("TRUNCATE invoices CASCADE"))
            sandbox.terminate()


def _compare(client: SandboxClient, url: str) -> Bar:
    client.register_store(STORE, API_KEY)
    make_account("bench", kind="btcpay", base_url=url)
    make_catalog("benchmark")
    invoices = [make_invoice("bench", "benchmark") for _ in range(INVOICES)]
    urls = [f"{url}/api/v1/stores/{STORE}/invoices/{invoice.provider_invoice_id}" for invoice in invoices]
    ours, bare = [], []
    for number in range(ROUNDS):
        print(f"reconciling, round {number + 1} of {ROUNDS} ...", flush=True)
        bare.append(_rate(client, lambda n: bare_query.delay(urls[n % INVOICES], API_KEY)))
        ours.append(_rate(client, lambda n: reconcile_invoice.delay(str(invoices[n % INVOICES].id))))
    # Each round's two rates are measured one right after the other, so a slow spell of the machine meets both.
    ratios = [own / yardstick for own, yardstick in zip(ours, bare, strict=True)]
    rounds = ", ".join(f"{own:.0f}/{yardstick:.0f}" for own, yardstick in zip(ours, bare, strict=True))
    figures = f"a second, by round: {rounds}; one worker, prefork -c {CONCURRENCY}"
    return Bar("still-pending reconcile to a bare task", statistics.median(ratios), figures, at_least=0.6)


def _rate(client: SandboxClient, send) -> float:
    """Queries a second, from the first tenth of the messages to the last, all of them queued beforehand."""
    for number in range(MESSAGES):
        send(number)
    before = client.requests_made()["total"]
    worker = ProcessContainer(worker_command("tests.bench.bare_task", CONCURRENCY))

    def made(count: int) -> float | None:
        return time.perf_counter() if client.requests_made()["total"] - before >= count else None

    try:
        began = wait_until(lambda: made(MESSAGES // 10), timeout=60)
        begun_with = client.requests_made()["total"] - before
        ended = wait_until(lambda: made(MESSAGES), timeout=120)
    finally:
        worker.teardown()
    return (MESSAGES - begun_with) / (ended - began)
