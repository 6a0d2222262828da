"""Every process dies at every commit, call and message of a purchase's whole life, for each way of hearing of it."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from math import inf
from uuid import uuid4

import requests
from sqlalchemy import update

from keysat.core.db import transaction
from keysat.core.secrets import secret_box
from keysat.mail import mail_queue
from keysat.models import Policy
from keysat.webhooks.endpoints import add_endpoint
from tests.faults.crash_points import Plan
from tests.faults.hasty import LAPSE, SPEED
from tests.faults.report import TWO_TICKS, Report, judged
from tests.faults.world import World
from tests.mail.letters import key_in, text_of
from tests.mail.server import MailServer
from tests.webhooks.receiver import Receiver

_LOCAL = {
    "KEYSAT_WEBHOOK_ALLOW_HTTP": "true",
    "KEYSAT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "KEYSAT_TIP_ALLOWED_NETWORKS": "127.0.0.0/8",
    "KEYSAT_LIGHTNING_NETWORK": "regtest",
}
_ORDER = {"product": "editor", "buyer_email": "buyer@example.com"}
# How much is left to do of each, in this order.
_STAGES = {
    "licensed": "SELECT count(*) FROM invoices WHERE status <> 'settled' OR fulfilled_at IS NULL",
    "told": "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL",
    "mailed": "SELECT count(*) FROM mails WHERE status NOT IN ('sent', 'dropped')",
    "tipped": "SELECT count(*) FROM tips WHERE status <> 'sent'",
}
# The dead process may have called the provider, so a purchase pauses for 75 s before it resumes. A delivery or
# a mail in progress waits for its lease. A tip that may have been paid is looked up, and its same invoice is sent
# again. Tips are scanned every 30 s: to resume it, to look it up, and to send it again. All takes a sixth of that here.
BARS = {
    "bought": 75 / SPEED + 5,
    "licensed": TWO_TICKS,
    "told": TWO_TICKS + LAPSE,
    "mailed": TWO_TICKS + mail_queue.LEASE.total_seconds(),
    "tipped": TWO_TICKS + LAPSE + 3 * 30 / SPEED,
}
_PATHS = {"webhook": 0.0, "scan": 1.0}  # the share of the webhooks that is lost


def die_everywhere(world: World, paths: int = 2, most_points: int | None = None) -> Report:
    """Live through a purchase once to see its points, then once for each point to die there, on each path.

    A life that doesn't reach its end is a breach, and the last one: what it left undone would count against the next.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        receiver, server = stack.enter_context(closing(Receiver())), stack.enter_context(closing(MailServer()))
        stack.callback(world.close)  # first, since its processes write there, and call both
        plan = Plan(folder)
        _open_shop(world, receiver)
        _start(world, folder, server)
        died, lives = 0, {}
        for name, point in _points(world, plan, paths, most_points):
            if point is not None:
                plan.arm(point)
            lives[name] = _live(world)
            died += point is not None and plan.fired
            plan.disarm()
            if inf in lives[name].values():
                break
        worst = {stage: max(lives, key=lambda name: lives[name][stage]) for stage in BARS}
        report = judged("death at a named point", died, world, lives[worst["licensed"]]["licensed"], within=None)
        report.at_least("points died at, of those there are", died, (len(lives) - paths) * 0.9)
        report.breaches += unreached(lives)
        for stage, bar in BARS.items():
            report.within(f"{stage} within", lives[worst[stage]][stage], bar, f", at {worst[stage]}")
        report.at_least("licenses that the operator's program was told of", _told_of(receiver), world.paid)
        keys = {key_in(text_of(taken)) for taken in server.taken}
        report.at_least("licenses that reached their buyers by mail", len(keys), world.paid)
        return report


def _points(world: World, plan: Plan, paths: int, most_points: int | None) -> Iterator[tuple[str, str | None]]:
    """For each path a life without a death, and then the points that it passed, with a name for each life."""
    for path, lost in world.random.sample(list(_PATHS.items()), paths):
        world.client.set_webhooks(drop=lost)
        plan.forget()
        yield f"{path}, no death", None
        points = plan.seen()
        if most_points is not None:
            points = world.random.sample(points, min(most_points, len(points)))
        for point in points:
            yield f"{path}, {point}", point


def unreached(lives: dict[str, dict[str, float]]) -> list[str]:
    """The stages that were never reached, as sentences."""
    return [f"never {stage}, at {name}" for name, life in lives.items() for stage in BARS if life[stage] == inf]


def _open_shop(world: World, receiver: Receiver) -> None:
    recipient = f"dev@{world.sandbox_url.partition('://')[2]}"
    tip = {"tip_recipient": recipient, "tip_pct_bps": 500, "tip_label": "for the compiler"}
    with transaction() as session:
        session.execute(update(Policy).values(tip))
        add_endpoint(session, secret_box(world.settings), "crashes", receiver.url, allow_http=True, actor="cli")


def _start(world: World, folder: str, server: MailServer) -> None:
    mail = {"KEYSAT_SMTP_URL": server.url, "KEYSAT_MAIL_FROM": "licenses@shop.example"}
    planned = {"FAULTS_CRASH_PLAN": folder, **_LOCAL, **mail}
    world.worker(**planned)
    world.beat()
    world.web(**planned)


def _live(world: World) -> dict[str, float]:
    """Buy, pay, and wait until all work is done. Returns the seconds to each stage since the payment or the last death.

    A dead process is back when it serves again. A stage that isn't reached takes forever.
    """
    key, reached = uuid4().hex, dict.fromkeys(BARS, inf)
    deaths, began = world.starts, time.monotonic()
    while (answer := _purchase(world, key)) is None and time.monotonic() < began + _patience():
        if world.starts > deaths:
            deaths, began = _back(world)
        time.sleep(0.1)
    if answer is None:
        return reached
    reached["bought"] = time.monotonic() - began
    world.pay([answer["btcpay_invoice_id"]])
    began = time.monotonic()
    while inf in reached.values() and time.monotonic() < began + _patience():
        if world.starts > deaths:
            deaths, began = _back(world)
            reached |= dict.fromkeys(_STAGES, inf)
        for stage, question in _STAGES.items():
            if reached[stage] == inf:
                if world.oracle.count(question):
                    break
                reached[stage] = time.monotonic() - began
        time.sleep(0.05)
    return reached


def _patience() -> float:
    return 2 * Report.slack * max(BARS.values())


def _back(world: World) -> tuple[int, float]:
    """Wait until all processes serve again. Returns the number of starts, and the time."""
    starts = world.starts
    world.await_worker()
    world.await_web()
    return starts, time.monotonic()


def _told_of(receiver: Receiver) -> int:
    """Count the licenses of which the receiver was notified at least once."""
    events = [json.loads(copy.body) for copy in receiver.copies]
    return len({str(event["data"]["license_id"]) for event in events if event["event_type"] == "license.issued"})


def _purchase(world: World, key: str) -> dict | None:
    """Ask for a purchase once, as a client does that repeats it with its idempotency key until there is a response."""
    url = f"http://127.0.0.1:{world.web_port}/v1/purchase"
    with suppress(requests.RequestException):
        answer = requests.post(url, json=_ORDER, headers={"Idempotency-Key": key}, timeout=10)
        if answer.status_code == 200:
            return answer.json()
    return None
