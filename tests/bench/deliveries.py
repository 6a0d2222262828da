"""Outbound webhooks: whether all arrive in a storm, and whether a receiver that hangs delays the others."""

import statistics
import time

from sqlalchemy import text

from keysat.core.db import reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.endpoints import add_endpoint
from tests.bench.bar import Bar
from tests.nodes import wait_until
from tests.webhooks.receiver import Receiver
from tests.webhooks.storm import sending, storm

EVENTS, KILLS = 2_000, 20
ENDPOINTS, ROUNDS = 20, 60
PAUSE_SECONDS = 0.4


def deliveries_in_a_storm() -> Bar:
    """Events that arrived, to events that happened, under a moody receiver and a sender that is killed."""
    print(f"{EVENTS:,} events to a receiver that is down, slow and wrong in turns; {KILLS} kills ...", flush=True)
    outcome = storm(EVENTS, KILLS)
    _forget()
    figures = (
        f"{outcome.arrived:,} of {outcome.events:,} arrived in {outcome.seconds:.0f} s, {outcome.copies:,} copies, "
        f"{outcome.attempts:,} attempts on record, {outcome.kills} kills; {outcome.differing} ids with two bodies, "
        f"{outcome.unverified} copies that the standardwebhooks package refuses"
    )
    right = outcome.differing == outcome.unverified == 0
    return Bar("events that arrived, to those that happened", outcome.arrived / EVENTS * right, figures, at_least=1.0)


def delay_by_a_hung_receiver() -> Bar:
    """How much longer deliveries take while one endpoint of twenty hangs: the p99 to the usual p99."""
    print(f"{ROUNDS} events to {ENDPOINTS} endpoints, then with one of them hung ...", flush=True)
    receiver = Receiver()
    hung = Receiver(lambda _: None)
    with sending():
        _add(receiver, *(f"e{number}" for number in range(ENDPOINTS)))
        _p99(ROUNDS // 3, ENDPOINTS)  # the first ones pay for imports and connections
        usual = _p99(ROUNDS, ENDPOINTS)
        with transaction() as session:
            session.execute(text("UPDATE webhook_endpoints SET url = :url WHERE name = 'e0'"), {"url": hung.url})
        beside = _p99(ROUNDS, ENDPOINTS - 1)
    receiver.close()
    hung.close()
    _forget()
    figures = (
        f"p99 {usual * 1000:.0f} ms, beside a hung one {beside * 1000:.0f} ms; "
        f"{ENDPOINTS / PAUSE_SECONDS:.0f} deliveries a second, {ROUNDS * ENDPOINTS:,} in all"
    )
    return Bar("p99 of deliveries beside a hung receiver, to the usual", beside / usual, figures, at_most=2.0)


def _add(receiver, *names):
    with transaction() as session:
        for name in names:
            add_endpoint(session, secret_box(load_settings()), name, receiver.url, allow_http=True, actor="cli")


def _p99(rounds, endpoints):
    """Seconds from an event to its arrival, the slowest hundredth left out, at the endpoints that work."""
    with reading() as session:
        began = session.scalar(text("SELECT clock_timestamp()"))
    for number in range(rounds):
        with transaction() as session:
            emit(session, EventType.LICENSE_ISSUED, {"number": number})
        time.sleep(PAUSE_SECONDS)
    took = text(
        "SELECT extract(epoch FROM delivered_at - created_at) FROM webhook_deliveries "
        "WHERE delivered_at IS NOT NULL AND created_at > :began"
    )

    def all_there():
        with reading() as session:
            seconds = [float(duration) for duration in session.scalars(took, {"began": began})]
        return len(seconds) >= rounds * endpoints and seconds

    return statistics.quantiles(wait_until(all_there, timeout=60), n=100)[98]


def _forget():
    with transaction() as session:
        session.execute(text("TRUNCATE webhook_endpoints, outbound_events CASCADE"))
