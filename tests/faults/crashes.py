"""Every process dies at every commit, call and message of a purchase's whole life, for each way of hearing of it."""

import json
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import requests
from sqlalchemy import update

from keysat.db import transaction
from keysat.models import Policy
from keysat.secrets import secret_box
from keysat.webhooks.endpoints import add_endpoint
from tests.faults.crash_points import Plan
from tests.faults.hasty import LAPSE, SPEED
from tests.faults.report import TWO_TICKS, Report, judged
from tests.faults.world import World
from tests.webhooks.receiver import Receiver

_LOCAL = {
    "KEYSAT_WEBHOOK_ALLOW_HTTP": "true",
    "KEYSAT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "KEYSAT_TIP_ALLOWED_NETWORKS": "127.0.0.0/8",
    "KEYSAT_LIGHTNING_NETWORK": "regtest",
}
_UNDONE = """
SELECT (SELECT count(*) FROM invoices WHERE status = 'settled' AND fulfilled_at IS NULL)
     + (SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL)
     + (SELECT count(*) FROM tips WHERE status <> 'sent')
"""
# Whoever died may have asked the provider, so that a purchase rests for a while before it is taken up again.
BUY = 75 / SPEED + 5
# A tip that may have been paid isn't paid again before its invoice is over, and tips are scanned for every 5 s.
INVOICE_LIFE = 3
TIP = LAPSE + INVOICE_LIFE + 1 + 2 * 30 / SPEED
_PATHS = {"webhook": 0.0, "scan": 1.0}  # the share of the webhooks that is lost


@dataclass(frozen=True)
class Life:
    """Seconds from the payment, or from when what died was back, until nothing was owed; and to buy at all."""

    seconds: float
    bought_in: float


def die_everywhere(world: World, most_points: int | None) -> Report:
    """Live through a purchase once to see its points, then once for each point to die there."""
    with tempfile.TemporaryDirectory() as folder:
        plan, receiver = Plan(folder), Receiver()
        _open_shop(world, receiver)
        _start(world, folder)
        died, spared, lives = 0, 0, {}
        for path, lost in _PATHS.items():
            world.client.set_webhooks(drop=lost)
            plan.forget()
            _live(world)
            points = plan.seen()
            if most_points is not None:
                points = world.random.sample(points, min(most_points, len(points)))
            for point in points:
                plan.arm(point)
                lives[f"{path}, {point}"] = _live(world)
                died += plan.fired
                spared += not plan.fired
                plan.disarm()
        tips = max((life.seconds for point, life in lives.items() if "tips." in point), default=0.0)
        slowest = max((one for one in lives if "tips." not in one), key=lambda one: lives[one].seconds)
        bought = max(lives, key=lambda one: lives[one].bought_in)
        report = judged("death at a named point", died, world, lives[slowest].seconds, within=None)
        report.at_least("points died at, in processes of their own", died, 1)
        report.at_most("points that were not passed again", spared, len(lives) // 10)
        report.at_most("everything done within", lives[slowest].seconds, TWO_TICKS, f" s, at {slowest}")
        report.at_most("where a tip died, within", tips, TIP, " s")
        report.at_most("bought, by trying again, within", lives[bought].bought_in, BUY, f" s, at {bought}")
        report.at_least("licenses that the operator's program was told of", _told_of(receiver), world.paid)
        return report


def _open_shop(world: World, receiver: Receiver) -> None:
    recipient = f"dev@{world.sandbox_url.partition('://')[2]}"
    tip = {"tip_recipient": recipient, "tip_pct_bps": 500, "tip_label": "for the compiler"}
    world.client.set_lightning(life=INVOICE_LIFE)
    with transaction() as session:
        session.execute(update(Policy).values(tip))
        add_endpoint(session, secret_box(world.settings), "crashes", receiver.url, allow_http=True)


def _start(world: World, folder: str) -> None:
    planned = {"FAULTS_CRASH_PLAN": folder, **_LOCAL}
    world.worker(**planned)
    world.beat()
    world.web(**planned)


def _live(world: World) -> Life:
    """Buy, pay, and wait until nothing is owed."""
    deaths, began = world.starts, time.monotonic()
    answer = _purchase(world)
    bought_in = time.monotonic() - began
    world.pay([answer["btcpay_invoice_id"]])
    began = time.monotonic()
    while time.monotonic() < began + 60:
        if world.starts > deaths:
            deaths = world.starts
            world.await_worker()
            world.await_web()
            began = time.monotonic()
        if world.oracle.licenses() >= world.paid and world.oracle.count(_UNDONE) == 0:
            break
        time.sleep(0.05)
    return Life(time.monotonic() - began, bought_in)


def _told_of(receiver: Receiver) -> int:
    """Of how many licenses the receiver was told, however often."""
    told = [json.loads(copy.body) for copy in receiver.copies]
    return len({str(one["data"]["license_id"]) for one in told if one["event_type"] == "license.issued"})


def _purchase(world: World) -> dict:
    """Buy as a client does: with an idempotency key, again and again until there is an answer."""
    key, url = uuid4().hex, f"http://127.0.0.1:{world.web_port}/v1/purchase"
    deadline, said = time.monotonic() + 60, "nothing"
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            answer = requests.post(url, json={"product": "editor"}, headers={"Idempotency-Key": key}, timeout=10)
            if answer.status_code == 200:
                return answer.json()
            said = answer.text
        time.sleep(0.1)
    raise AssertionError(f"nobody could buy anything for a minute: {said}")
