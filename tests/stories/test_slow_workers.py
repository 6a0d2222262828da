"""Workers that are far too slow: the queue stays bounded, no invoice starves, and none has two live messages."""

import base64
import json
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, update

from keysat.core.db import transaction
from keysat.models import Invoice
from tests.builders import make_invoice
from tests.nodes import ProcessContainer, beat_command, wait_until, worker_command

APP = "tests.stories.fast_schedule"
TICK_SECONDS, TICKS = 0.5, 10
# 24 checks are due each second, and the provider takes 0.165 s for one: a quarter of the needed speed.
INVOICES, LATENCY, CONCURRENCY = 24, 0.165, 1
# What the worker can do before the messages expire: with so few in the queue, none does.
WORKABLE = 2
HELD_BY_WORKER = 2


@pytest.fixture
def worker_arguments():
    return worker_command(APP, concurrency=CONCURRENCY, extra=("-Q", "scan,issue,reconcile"))


@pytest.fixture(params=[2_000, WORKABLE])
def queue_limit(request):
    return request.param


@pytest.fixture
def worker_environment(queue_limit):
    return {"KEYSAT_SCAN_QUEUE_LIMIT": str(queue_limit)}


def messages(broker):
    """All messages for reconcile_invoice in the broker or reserved by a worker: task, invoice, expiry."""
    waiting = [json.loads(raw) for raw in broker.lrange("reconcile", 0, -1)]
    held = [json.loads(raw)[0] for raw in broker.hvals("unacked")]
    for message in waiting + held:
        if message["headers"]["task"] == "keysat.reconcile_invoice":
            [[invoice_id], *_] = json.loads(base64.b64decode(message["body"]))
            yield message["headers"]["id"], invoice_id, datetime.fromisoformat(message["headers"]["expires"])


class Watch:
    """What was seen of the queue while it ran."""

    def __init__(self):
        self.max_live = self.longest = self.samples = 0
        self.expired = set()

    def check_invoice(self, broker):
        found = set(messages(broker))
        now = datetime.now(UTC)
        live = Counter(invoice_id for _, invoice_id, expires in found if expires > now)
        self.max_live = max([self.max_live, *live.values()])
        self.longest = max(self.longest, len(found))
        self.samples += bool(live)
        self.expired |= {task_id for task_id, _, expires in found if expires <= now}


def test_never_more_than_one_live_message_for_an_invoice(
    celery_setup, shop, empty_broker, queue_limit, record_property
):
    for _ in range(INVOICES):
        make_invoice()
    shop.set_faults([{"kind": "latency", "seconds": LATENCY}])
    with transaction() as session:
        session.execute(update(Invoice).values(next_check_at=func.now()))
    beat = ProcessContainer(beat_command(APP), environment={"KEYSAT_SCAN_SECONDS": str(TICK_SECONDS)})
    watch, ended = Watch(), threading.Event()
    timer = threading.Timer(TICKS * TICK_SECONDS, ended.set)
    timer.start()

    def seen_enough():
        all_asked = queue_limit != WORKABLE or len(shop.requests_made()["invoice_reads"]) == INVOICES
        return all_asked and watch.samples > 100

    try:
        while not ended.wait(0.02):
            watch.check_invoice(empty_broker)
        wait_until(
            lambda: watch.check_invoice(empty_broker) or seen_enough()
        )  # a busy machine needs longer for the same
    finally:
        timer.cancel()
        beat.teardown()
    record_property("most_live_messages_of_one_invoice", watch.max_live)
    assert watch.samples > 100
    assert watch.max_live == 1
    if queue_limit == WORKABLE:
        reads = shop.requests_made()["invoice_reads"]
        assert len(reads) == INVOICES, "an invoice was starved"
        # An invoice whose message expired, because the machine itself stalled, has lost one turn.
        unfair = max(reads.values()) - min(reads.values()) - len(watch.expired)
        assert unfair <= 1, "the longest due were not served first"
        assert watch.longest <= WORKABLE + HELD_BY_WORKER
    else:
        assert watch.expired, "the workers were fast enough; the test is too easy"
    wait_until(lambda: not list(messages(empty_broker)))
