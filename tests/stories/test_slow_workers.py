"""Workers that are far too slow: the queue stays bounded, nobody starves, no invoice has two live messages."""

import base64
import json
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, update

from keysat.db import transaction
from keysat.models import Invoice
from tests.builders import make_invoice
from tests.nodes import ProcessContainer, beat_command, wait_until, worker_command

APP = "tests.stories.fast_schedule"
TICK_SECONDS, TICKS = 0.5, 30
# 24 looks are due each second, and the provider takes 0.165 s for one: a quarter of the speed that is needed.
INVOICES, LATENCY, CONCURRENCY = 24, 0.165, 1


@pytest.fixture
def worker_arguments():
    return worker_command(APP, concurrency=CONCURRENCY)


def messages(broker):
    """All messages for reconcile_invoice that wait in the broker or are held by a worker, as (invoice id, expiry)."""
    waiting = [json.loads(raw) for raw in broker.lrange("reconcile", 0, -1)]
    held = [json.loads(raw)[0] for raw in broker.hvals("unacked")]
    for message in waiting + held:
        if message["headers"]["task"] == "keysat.reconcile_invoice":
            [[invoice_id], *_] = json.loads(base64.b64decode(message["body"]))
            yield message["headers"]["id"], invoice_id, datetime.fromisoformat(message["headers"]["expires"])


def test_never_more_than_one_live_message_for_an_invoice(celery_setup, shop, empty_broker, record_property):
    for _ in range(INVOICES):
        make_invoice()
    shop.set_faults([{"kind": "latency", "seconds": LATENCY}])
    with transaction() as session:
        session.execute(update(Invoice).values(next_check_at=func.now()))
    beat = ProcessContainer(beat_command(APP), environment={"KEYSAT_SCAN_SECONDS": str(TICK_SECONDS)})
    most, longest_queue, samples, late = 0, 0, 0, set()
    ended = threading.Event()
    timer = threading.Timer(TICKS * TICK_SECONDS, ended.set)
    timer.start()
    try:
        while not ended.wait(0.02):
            found = set(messages(empty_broker))
            now = datetime.now(UTC)
            live = Counter(invoice_id for _, invoice_id, expires in found if expires > now)
            most = max([most, *live.values()])
            longest_queue = max(longest_queue, len(found))
            samples += bool(live)
            late |= {task_id for task_id, _, expires in found if expires <= now}
    finally:
        timer.cancel()
        beat.teardown()
    reads = shop.requests_made()["invoice_reads"]
    record_property("most_live_messages_of_one_invoice", most)
    assert samples > 100
    assert late, "the workers were fast enough; the test is too easy"
    assert most == 1
    assert longest_queue <= 4 * INVOICES
    assert len(reads) == INVOICES, "an invoice was starved"
    wait_until(lambda: not list(messages(empty_broker)))
