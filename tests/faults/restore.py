"""README's restore of a dump, again and again, while tips are paid: what went out since doesn't go out again."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import requests
from sqlalchemy import update

from keysat.core.db import transaction
from keysat.models import Policy
from tests.dumps import dump_to, restore_from
from tests.environment import SCRATCH
from tests.faults.hasty import LAPSE, TICK
from tests.faults.report import TWO_TICKS, Report, judged
from tests.faults.world import World
from tests.nodes import wait_until

BUYERS_A_SECOND = 5
TIP_BPS = 500
# The node pays half of its requests without reporting it, and one request in five never arrives.
_NODE = ["paid", "paid", "unclear-paid", "500-paid", "500-unheard"]
_LIGHTNING = {"KEYSAT_TIP_ALLOWED_NETWORKS": "127.0.0.0/8", "KEYSAT_LIGHTNING_NETWORK": "regtest"}
_UNDECIDED = "SELECT count(*) FROM tips WHERE status = 'owed'"
_HELD = "SELECT count(*) FROM tips WHERE status = 'held'"


def restore_dumps(world: World, restores: int, seconds: float) -> Report:
    """Sell, dump, sell on, restore the dump: every second time Keysat has to notice the restore by itself."""
    recipient = f"dev@{world.sandbox_url.partition('://')[2]}"
    with transaction() as session:
        session.execute(update(Policy).values(tip_recipient=recipient, tip_pct_bps=TIP_BPS))
    world.client.set_lightning(_NODE, seed=world.random.randrange(2**31))
    world.worker(**_LIGHTNING)
    world.beat()
    url = world.web(**_LIGHTNING)
    world.client.set_webhooks(drop=1.0)
    dump, breaches, after_dumps, again, held, worst = SCRATCH / "faults.dump", [], 0, 0, 0, 0.0
    for number in range(restores):
        with world.buyers(BUYERS_A_SECOND, partial(_buy, world, url)):
            time.sleep(seconds)
            dump_to(dump, "--exclude-schema=oracle")
            at_dump, held_at_dump = paid_tips(world), world.oracle.count(_HELD)
            time.sleep(seconds)
            wait_until(lambda: paid_tips(world) > at_dump)  # noqa: B023 - asked at once
        breaches += world.oracle.judge().breaches
        with _stopped(world):
            before = paid_tips(world)
            restore_from(dump)
            world.oracle.take_over()
            _keysat("db", "upgrade")
            if number % 2 == 0:
                _keysat("db", "restored")
        world.await_worker()
        world.await_web()
        ended = time.monotonic()
        _keysat("sweep", "main", "--since", "2d")
        worst = max(worst, world.recover(ended))
        wait_until(lambda: world.oracle.count(_UNDECIDED) == 0, timeout=120)
        time.sleep(LAPSE + 2 * TICK)  # a second payment of a tip would need it
        after_dumps += before - at_dump
        again += paid_tips(world) - before
        held += world.oracle.count(_HELD) - held_at_dump
    fresh = paid_tips(world)
    _buy(world, url, 20)
    wait_until(lambda: paid_tips(world) >= fresh + 20, timeout=120)
    report = judged("older dump restored, with tips in it", restores, world, worst, TWO_TICKS + LAPSE)
    report.breaches += breaches
    report.at_least("tips paid between a dump and its restore", after_dumps, restores)
    report.at_least("tips that waited for a person afterwards", held, after_dumps)
    report.at_most("tips paid after a restore of sales before it", again, 0)
    return report


def paid_tips(world: World) -> int:
    """How many payments the node really made."""
    return sum(payment["paid"] for payment in world.client.lightning_payments())


def _buy(world: World, url: str, count: int) -> None:
    """Purchases through the web server: only such invoices say what they are for, so that a sweep finds them."""
    for _ in range(count):
        answer = requests.post(f"{url}/v1/purchase", json={"product": "editor"}, timeout=60)
        answer.raise_for_status()
        world.pay([answer.json()["btcpay_invoice_id"]])


@contextmanager
def _stopped(world: World):
    """Shut everything down for the duration, then start it again."""
    with ExitStack() as stack:
        for name in world.nodes:
            stack.enter_context(world.held(name))
            world.kill(name)
        yield


def _keysat(*arguments: str) -> None:
    command = [sys.executable, "-m", "keysat", *arguments]
    subprocess.run(command, env={**os.environ, **_LIGHTNING}, check=True, capture_output=True, timeout=300)
