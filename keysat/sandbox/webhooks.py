"""Sends webhooks as the store's kind of provider does, and loses, repeats, delays or reorders them on order.

Each store has a lane: a thread that sends one delivery at a time, the earliest scheduled first.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from dataclasses import dataclass, replace

import requests

from keysat.core.errors import InvalidInput
from keysat.sandbox.deliveries import Counts, Delivery, Message
from keysat.sandbox.fields import Fields
from keysat.sandbox.modes import MODES
from keysat.sandbox.records import Event, Store

BTCPAY_RETRY_DELAYS = (10.0, 60.0, 600.0, 600.0, 600.0, 600.0, 600.0, 600.0)
_REORDER_SPREAD = 0.2
_STOP_SECONDS = 3.0


@dataclass(frozen=True)
class WebhookPlan:
    """Faults of deliveries: probabilities from 0 to 1, delays in seconds. The default delivers at once and in order."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_seconds: tuple[float, float] = (0.0, 0.0)
    reorder: bool = False
    seed: int | None = None
    retry_delays: tuple[float, ...] = BTCPAY_RETRY_DELAYS


class Sender:
    """Receives the ledger's events and delivers them from background threads."""

    def __init__(self, plan: WebhookPlan, timeout: float) -> None:
        """`timeout` is the number of seconds that a receiver has to respond."""
        self._timeout, self._default = timeout, plan
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._counts = Counts()
        self.set_plan(plan)

    def set_plan(self, plan: WebhookPlan) -> None:
        """Use this plan for all later events."""
        with self._lock:
            self._plan = plan
            self._random = random.Random(plan.seed)  # noqa: S311 - chances of faults, no secrets

    def send(self, store: Store, event: Event) -> None:
        """Queue an event. Returns at once."""
        for message in MODES[store.kind].messages(store, event):
            self._send(store, message)

    def _send(self, store: Store, message: Message) -> None:
        with self._lock:
            plan, chance = self._plan, self._random
            if chance.random() < plan.drop:
                self._counts.dropped += 1
                return
            delivery = Delivery(message, plan.retry_delays if message.redelivers else (), self._counts)
            copies = 2 if chance.random() < plan.duplicate else 1
            self._counts.sent += copies
            for _ in range(copies):
                self._lane(store.id).put(delivery, _delay(plan, chance), in_order=not plan.reorder)

    def counts(self) -> Counts:
        with self._lock:
            return replace(self._counts)

    def reset(self) -> None:
        """Drop pending deliveries, and reset the counters and the plan."""
        self.set_plan(self._default)
        with self._lock:
            self._counts = Counts()
            for lane in self._lanes.values():
                lane.clear()

    def stop(self) -> None:
        """Stop the threads. Pending deliveries are lost, as in a restart of BTCPay."""
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.stop()

    def finish(self, delivery: Delivery, *, delivered: bool) -> None:
        with self._lock:
            delivery.counts.delivered += delivered
            delivery.counts.failed += not delivered

    def is_current(self, delivery: Delivery) -> bool:
        with self._lock:
            return delivery.counts is self._counts

    def _lane(self, store_id: str) -> _Lane:
        if store_id not in self._lanes:
            self._lanes[store_id] = _Lane(self, self._timeout)
        return self._lanes[store_id]


class _Lane:
    """One store's deliveries."""

    def __init__(self, sender: Sender, timeout: float) -> None:
        self._sender, self._timeout = sender, timeout
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()
        self._latest = 0.0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)
        self._thread.start()

    def put(self, delivery: Delivery, delay: float, *, in_order: bool = False) -> None:
        with self._changed:
            due = time.monotonic() + delay
            if in_order:
                due = self._latest = max(due, self._latest)
            heapq.heappush(self._waiting, (due, next(self._numbers), delivery))
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._latest = 0.0

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (delivery := self._next()) is not None:
                self._deliver(session, delivery)

    def _next(self) -> Delivery | None:
        with self._changed:
            while not self._stopped:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(left)
        return None

    def _deliver(self, session: requests.Session, delivery: Delivery) -> None:
        status = delivery.post(session, self._timeout)
        delivered = status is not None and 200 <= status < 300
        again = status is None or status >= 500 or status in {408, 429}
        if delivered or not again or not delivery.retry_delays:
            self._sender.finish(delivery, delivered=delivered)
        elif self._sender.is_current(delivery):
            self.put(delivery.again(), delivery.retry_delays[0])


def parse_plan(value: object, default: WebhookPlan) -> WebhookPlan:
    """Read a delivery plan. `default` supplies missing retry delays.

    Raises:
        InvalidInput: a field is malformed or unknown.
    """
    known = ("drop", "duplicate", "delay_seconds", "reorder", "seed", "retry_delays")
    fields = Fields(value, "the webhook plan", known)
    delays = _seconds(fields.any("delay_seconds", [0, 0]))
    if len(delays) != 2 or delays[0] > delays[1]:
        raise InvalidInput("'delay_seconds' of the webhook plan has to be [least, most].")
    return WebhookPlan(
        drop=fields.number("drop", 0.0, maximum=1.0),
        duplicate=fields.number("duplicate", 0.0, maximum=1.0),
        delay_seconds=(delays[0], delays[1]),
        reorder=fields.flag("reorder"),
        seed=fields.whole("seed") if fields.has("seed") else None,
        retry_delays=_seconds(fields.items("retry_delays")) if fields.has("retry_delays") else default.retry_delays,
    )


def _seconds(value: object) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise InvalidInput("delays have to be a list of seconds.")
    return tuple(Fields({"delay": item}, "the delays", ("delay",)).number("delay", maximum=86_400) for item in value)


def _delay(plan: WebhookPlan, chance: random.Random) -> float:
    minimum, maximum = plan.delay_seconds
    return chance.uniform(minimum, max(maximum, minimum + _REORDER_SPREAD) if plan.reorder else maximum)
