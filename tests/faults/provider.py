"""A provider that fails, hangs, babbles, drips and floods, and one that is down for hours."""

import time
from collections import Counter
from datetime import timedelta

import requests

from tests.builders import STORE
from tests.environment import SCRATCH
from tests.faults.calls import longest_call
from tests.faults.hasty import SPEED
from tests.faults.report import TWO_TICKS, Report, judged
from tests.faults.world import World
from tests.nodes import wait_until

BUYERS_A_SECOND = 10
DEADLINE, GIGABYTE, MEMORY_MB = 2.0, 10**9, 20.0
# What a failing call needs is loaded once.
_WARM_UP_SECONDS = 10
STEP = timedelta(minutes=15)
_PROBE_SECONDS = 30 / SPEED
_BAD = [
    {"kind": "status", "status": 500, "probability": 0.3},
    {"kind": "hang", "seconds": 30, "probability": 0.1},
    {"kind": "garbage", "probability": 0.05},
    {"kind": "huge", "bytes": GIGABYTE, "probability": 0.02},
    {"kind": "drip", "seconds_per_byte": 0.2, "probability": 0.05},
]


def misbehave(world: World, seconds: float) -> Report:
    """30 % 500, 10 % hang, 5 % garbage, a gigabyte now and then, slow drips, all at once, while buyers pay."""
    record = SCRATCH / "calls.txt"
    record.write_text("")
    _start(world, KEYSAT_PROVIDER_TIMEOUT=str(DEADLINE), FAULTS_CALL_RECORD=str(record))
    world.sell(20)
    world.recover(time.monotonic())
    world.client.set_faults(_BAD, seed=world.random.randrange(2**31))
    with world.buyers(BUYERS_A_SECOND):
        time.sleep(_WARM_UP_SECONDS)
        before, most, began = world.resident_memory(), Counter(), time.monotonic()
        while time.monotonic() < began + seconds:
            most |= Counter(world.resident_memory())
            time.sleep(0.1)
    breaches = world.oracle.judge().breaches
    world.client.set_faults([])
    ended = time.monotonic()
    calls, longest = longest_call(record)
    # A call that hangs at the end blocks its message for the deadline, and a breaker that opened just then its account.
    report = judged("provider misbehaves", calls, world, world.recover(ended), TWO_TICKS + DEADLINE + _PROBE_SECONDS)
    report.breaches += breaches
    report.within("longest call", longest, DEADLINE + 1)
    growth = max(most[pid] - before[pid] for pid in before)
    report.at_most("growth of the process that grew most", growth, MEMORY_MB, " MB")
    return report


def be_down(world: World, hours: float, pending: int, paid: int) -> Report:
    """Hours without a response, while thousands wait. Then the backlog is checked many at a time."""
    _start(world)
    ids = world.open(pending)
    world.client.set_faults([{"kind": "status", "status": 503}])
    world.pay(world.random.sample(ids, paid))
    asked, steps = world.client.requests_made()["total"], round(timedelta(hours=hours) / STEP)
    began = time.monotonic()
    for _ in range(steps):
        world.let_pass(STEP)
        time.sleep(_PROBE_SECONDS / 2)
    probes = world.client.requests_made()["total"] - asked
    waited = time.monotonic() - began
    breaches = world.oracle.judge().breaches
    world.client.set_faults([])
    ended = time.monotonic()
    asked = world.client.requests_made()["total"]
    seconds = world.recover(ended, patience=300)
    wait_until(lambda: world.oracle.count(_BACKLOG) == 0, timeout=120)
    calls = world.client.requests_made()["total"] - asked
    report = judged(f"provider down for {hours:g} simulated hours", 1, world, seconds, within=60.0)
    report.breaches += breaches
    report.at_least("pending meanwhile", pending, pending)
    # Five failures open the breaker. From then on one probe passes after each pause.
    report.at_most("calls while it was down", probes, 5 + 4 * steps + waited / _PROBE_SECONDS)
    report.at_most("calls to drain the backlog, for each invoice that waited", calls / pending, 0.5)
    return report


def refuse_creates(world: World, seconds: float) -> Report:
    """Creating invoices fails, with an hour's Retry-After, while buyers try again. Paid invoices are read as usual."""
    url = _start(world)
    world.sell(20)
    world.recover(time.monotonic())
    refusal = {"kind": "status", "status": 503, "retry_after": 3_600, "method": "POST"}
    world.client.set_faults([{**refusal, "path_prefix": f"/api/v1/stores/{STORE}/invoices"}])
    statuses, slowest, began = Counter(), 0.0, time.monotonic()
    with world.buyers(BUYERS_A_SECOND):
        while time.monotonic() < began + seconds:
            asked = time.monotonic()
            statuses[requests.post(f"{url}/v1/purchase", json={"product": "editor"}, timeout=120).status_code] += 1
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.05)
    # Creating fails still: reading must not have noticed.
    report = judged("creates fail while reads work", statuses.total(), world, world.recover(time.monotonic()))
    world.client.set_faults([])
    report.at_most(
        "purchases that were answered otherwise than 502 or 503", sum(statuses.values()) - _refused(statuses), 0
    )
    report.at_most("purchases that asked the provider", statuses[502], 2 + seconds / _PROBE_SECONDS)
    report.within("slowest refusal", slowest, 2.0)
    return report


def _refused(statuses: Counter) -> int:
    return statuses[502] + statuses[503]


_BACKLOG = "SELECT count(*) FROM invoices WHERE next_check_at < now() - interval '10 seconds'"


def _start(world: World, **environment: str) -> str:
    world.worker(**environment)
    world.beat()
    url = world.web(**environment)
    world.client.set_webhooks(drop=1.0)
    return url
