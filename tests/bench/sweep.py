"""Invoices a second by a sweep, to one task each, over 100,000 pending invoices at one provider."""

import subprocess
import sys
import time

from sqlalchemy import text

from keysat.core.db import DATABASE, reading, transaction
from keysat.sandbox.client import SandboxClient
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep import pages
from keysat.tasks.tasks import reconcile_invoice
from tests.bench.bar import Bar
from tests.builders import STORE, load_account, make_account, make_catalog
from tests.nodes import ProcessContainer, wait_until, worker_command

INVOICES, PAID, SAMPLE, CONCURRENCY = 100_000, 50, 2_000, 2
_ROWS = text("""
    INSERT INTO invoices (id, provider_account_id, provider_invoice_id, checkout_url, product_id, policy_id,
                          base_amount, amount, currency, created_at, next_check_at, last_said)
    SELECT gen_random_uuid(), a.id, theirs.id, 'http://sandbox', p.product_id, p.id, 21000, 21000, 'BTC',
           now() - interval '1 second' * (:count - theirs.place), now() - interval '1 minute', 'New/None'
    FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS theirs (id, place), provider_accounts a, policies p
""")
# Invoices of the last half hour are checked every 30 s, so they may be due again when the sweep is over.
_STILL_DUE = text(
    "SELECT count(*) FROM invoices WHERE next_check_at <= now() AND created_at < now() - interval '1 hour'"
)


def sweep_rate_ratio() -> Bar:
    """Invoices a second by a sweep, to the same by one `reconcile_invoice` each."""
    command = [sys.executable, "-u", "-m", "keysat.sandbox", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sandbox:
        try:
            url = sandbox.stderr.readline().split()[-1]
            with SandboxClient(url) as client:
                return _compare(client, url)
        finally:
            with transaction() as session:
                session.execute(text("TRUNCATE invoices, products, provider_accounts CASCADE"))
            sandbox.terminate()


def _compare(client: SandboxClient, url: str) -> Bar:
    print(f"sweeping {INVOICES:,} pending invoices, and {SAMPLE:,} by one task each ...", flush=True)
    client.register_store(STORE, "key-of-test-store")
    make_account("swept", kind="btcpay", base_url=url)
    make_catalog("swept")
    ids = client.create_many(STORE, INVOICES, {"amount": "0.00021000", "currency": "BTC", "metadata": {"a": "b"}})
    with transaction() as session:
        session.execute(_ROWS, {"ids": ids, "count": INVOICES})
        session.execute(text("ANALYZE invoices"))
    one_each = _one_each(client)
    for provider_invoice_id in ids[:: INVOICES // PAID]:
        client.pay(provider_invoice_id)
    began = time.perf_counter()
    found = list(pages(DATABASE, load_account("swept").id, SettlementRules()))
    seconds = time.perf_counter() - began
    swept, changed = found[-1].sweep.seen / seconds, len({claim.row_id for page in found for claim in page.changed})
    with reading() as session:
        still_due = session.scalar(_STILL_DUE)
    figures = (
        f"{swept:,.0f} to {one_each:,.0f} a second; {len(found):,} calls in {seconds:.0f} s found {changed} of {PAID} "
        f"paid, {still_due} are still due; one process against one worker of {CONCURRENCY}"
    )
    right = changed == PAID and still_due == 0
    return Bar("invoices a second by a sweep, to one task each", swept / one_each * right, figures, at_least=10.0)


def _one_each(client: SandboxClient) -> float:
    with reading() as session:
        some = session.scalars(text(f"SELECT id FROM invoices ORDER BY random() LIMIT {SAMPLE}")).all()
    for invoice_id in some:
        reconcile_invoice.delay(str(invoice_id))
    before = client.requests_made()["total"]
    worker = ProcessContainer(worker_command(concurrency=CONCURRENCY, extra=("-Q", "reconcile")))

    def made(count: int) -> float | None:
        return time.perf_counter() if client.requests_made()["total"] - before >= count else None

    try:
        began = wait_until(lambda: made(SAMPLE // 10), timeout=60)
        begun_with = client.requests_made()["total"] - before
        ended = wait_until(lambda: made(SAMPLE), timeout=120)
    finally:
        worker.teardown()
    return (SAMPLE - begun_with) / (ended - began)
