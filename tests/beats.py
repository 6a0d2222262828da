"""Count the provider calls of several beats, on a schedule thirty times as fast."""

import threading

from sqlalchemy import func, select, update

from keysat.core.db import reading, transaction
from keysat.models import Invoice
from keysat.queue.send import queued
from keysat.tasks.app import app
from tests.nodes import ProcessContainer, beat_command, wait_until

INVOICES = 40
SECONDS = 6
RETRIED = "] retry: Retry in"
TICK = {"KEYSAT_SCAN_SECONDS": "0.5"}
APP = "tests.stories.fast_schedule"


def checks():
    """For each invoice, how often it was claimed and when last."""
    with reading() as session:
        rows = session.execute(select(Invoice.id, Invoice.check_count, Invoice.last_checked_at))
        return {invoice_id: (count, at) for invoice_id, count, at in rows}


def idle():
    """Whether the worker has nothing in hand, and nothing waits for it."""
    inspect = app.control.inspect(timeout=2)
    in_hand = [inspect.active(), inspect.reserved(), inspect.scheduled()]
    waiting = queued(app, "scan") + queued(app, "reconcile")
    return all(answer and not any(answer.values()) for answer in in_hand) and not waiting


def calls_a_second(shop, worker, beats, seconds=SECONDS):
    """Run several beats for a while. Returns the provider calls a second for each invoice.

    A message lives as long as its claim, a second here: when the machine stalls, some expire, and cost no call. A call
    that gets no response in time is repeated.
    """
    retried_before = worker.logs().count(RETRIED)
    with transaction() as session:
        session.execute(update(Invoice).values(next_check_at=func.now(), check_count=0))
    calls_before = shop.requests_made()["total"]

    def calls():
        return shop.requests_made()["total"] - calls_before

    def claims():
        return sum(count for count, _ in checks().values())

    nodes = []
    try:
        for _ in range(beats):
            nodes.append(ProcessContainer(beat_command(APP), environment=TICK))
            threading.Event().wait(0.25)  # so that a second beat ticks between the first one's ticks
        wait_until(lambda: all(count >= 2 for count, _ in checks().values()) and calls())
        first = checks()
        threading.Event().wait(seconds)  # an observation of a fixed length, not the wait for an event
        last = checks()
    finally:
        for node in nodes:
            node.teardown()

    wait_until(idle)
    made, claimed, retried = calls(), claims(), worker.logs().count(RETRIED) - retried_before
    assert made <= claimed + retried, f"{made} calls for {claimed} claims and {retried} retries"
    spans = sum((last[invoice][1] - first[invoice][1]).total_seconds() for invoice in first)
    return sum(last[invoice][0] - first[invoice][0] for invoice in first) / spans * made / claimed
