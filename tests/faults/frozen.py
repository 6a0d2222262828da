"""Workers that stand still for longer than the broker waits for them, and workers whose clock is wrong."""

import os
import signal
import time
from datetime import timedelta

from tests.faults.report import Report, judged
from tests.faults.world import World
from tests.nodes import wait_until

BUYERS_A_SECOND = 5
VISIBLE_SECONDS = 2


def freeze_worker(world: World, freezes: int) -> Report:
    """Stop one of two workers until the broker gave its messages to the other, then let it go on with them."""
    short = {"FAULTS_VISIBILITY_SECONDS": str(VISIBLE_SECONDS)}
    world.worker("one", **short)
    world.worker("two", **short)
    world.beat()
    world.client.set_faults([{"kind": "latency", "seconds": 0.2}])
    with world.buyers(BUYERS_A_SECOND):
        for _ in range(freezes):
            wait_until(lambda: world.broker.hlen("unacked") > 2, timeout=60)
            group = world.nodes["one"].pid
            os.killpg(group, signal.SIGSTOP)
            time.sleep(VISIBLE_SECONDS + 0.5)
            os.killpg(group, signal.SIGCONT)
    world.client.set_faults([])
    seconds = world.recover(time.monotonic())
    return judged("worker stopped past the visibility timeout", freezes, world, seconds)


def set_database_clock_wrong(world: World, days: float, times: int, seconds: float) -> Report:
    """The database's clock is days ahead for some seconds, then days behind, and right again each time.

    All stored times are moved the other way and back, which has the same effect on every comparison with the clock.
    """
    world.worker()
    world.beat()
    world.web()
    world.client.set_webhooks(drop=1.0)
    worst = 0.0
    for number in range(times):
        span = timedelta(days=days if number % 2 == 0 else -days)
        with world.buyers(BUYERS_A_SECOND):
            time.sleep(seconds)
            world.let_pass(span)
            time.sleep(seconds)
        world.let_pass(-span)
        worst = max(worst, world.recover(time.monotonic()))
    report = judged(f"database's clock {days:g} days off", times, world, worst)
    report.at_most("invoices that are no longer checked", world.oracle.count(_ABANDONED), 0)
    return report


_ABANDONED = "SELECT count(*) FROM invoices WHERE status <> 'settled' AND next_check_at IS NULL"


def set_clocks_wrong(world: World, minutes: float, invoices: int) -> Report:
    """One worker is ahead, another behind, and beat and the web server are off. Only the database's clock matters."""
    world.worker("ahead", FAULTS_CLOCK_OFF_SECONDS=str(60 * minutes))
    world.worker("behind", FAULTS_CLOCK_OFF_SECONDS=str(-60 * minutes))
    world.beat(FAULTS_CLOCK_OFF_SECONDS=str(-60 * minutes))
    world.web(FAULTS_CLOCK_OFF_SECONDS=str(60 * minutes))
    world.client.set_webhooks(drop=0.5, seed=world.random.randrange(2**31))
    with world.buyers(BUYERS_A_SECOND):
        wait_until(lambda: world.paid >= invoices, timeout=300)
    seconds = world.recover(time.monotonic())
    return judged(f"clocks {minutes:g} minutes off", 4, world, seconds)
