"""Events while the receiver is down, slow and wrong in turns, and the sender is killed again and again."""

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from keysat.core.db import reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import DeliveryAttempt, WebhookDelivery
from keysat.queue.outbox import EventType, emit
from keysat.queue.send import queued
from keysat.tasks.app import app
from keysat.tasks.sending import scan_deliveries
from keysat.webhooks.endpoints import add_endpoint, rotate_secret
from tests.nodes import ProcessContainer, wait_until, worker_command
from tests.webhooks.receiver import Receiver, verified

ALLOWED = {"KEYSAT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
TURN_SECONDS = 0.7
_BATCH = 50


class Moody(Receiver):
    """A receiver that is well, down, slow and wrong in turns, until it is `cured`."""

    def __init__(self):
        super().__init__(self._mood)
        self.cured, self.answered = False, []

    def _mood(self, copy):
        turn = 0 if self.cured else int(time.monotonic() / TURN_SECONDS) % 4
        self.answered.append(turn)
        if turn == 1:
            raise ConnectionError("down")
        if turn == 2:
            time.sleep(0.3)
        return random.choice([500, 404, 302, (200 + 300, {}, b"\xff\xfe")]) if turn == 3 else 204


@contextmanager
def sending(app_name="keysat.worker", threads=32):
    """A sender, in a process of its own."""
    command = worker_command(app_name, threads, extra=("-P", "threads", "-Q", "deliver"))
    container = ProcessContainer(command, " ready.", ALLOWED)
    container.ready()
    try:
        yield container
    finally:
        container.teardown()


@dataclass(frozen=True)
class Outcome:
    """The result of a storm."""

    events: int
    arrived: int
    copies: int
    attempts: int
    kills: int
    differing: int
    unverified: int
    seconds: float


def storm(events, kills):
    """Create `events` events, kill the sender `kills` times, and wait until no delivery is pending."""
    began, receiver = time.monotonic(), Moody()
    secrets = [_endpoint(receiver.url)]
    with sending("tests.webhooks.fast_backoff") as sender:
        for number in range(max(kills, -(-events // _BATCH))):
            _happen(min(_BATCH, max(0, events - number * _BATCH)))
            if number < kills:
                have = len(receiver.copies)
                wait_until(lambda have=have: _nothing_owed() or len(receiver.copies) > have)
                sender.kill()
                sender.restart()
                sender.ready()
            if number == kills // 2:
                secrets.append(_rotate())
        receiver.cured = True
        wait_until(_nothing_owed, timeout=180)
    receiver.close()
    return _count(receiver, secrets, events, kills, time.monotonic() - began)


def _count(receiver, secrets, events, kills, seconds):
    deliveries = receiver.by_delivery()
    with reading() as session:
        attempts = session.scalar(select(func.count()).select_from(DeliveryAttempt))
        known = {str(delivery_id) for delivery_id in session.scalars(select(WebhookDelivery.id))}
    assert set(deliveries) <= known
    return Outcome(
        events=events,
        arrived=len(deliveries),
        copies=len(receiver.copies),
        attempts=attempts,
        kills=kills,
        differing=sum(len({copy.body for copy in copies}) > 1 for copies in deliveries.values()),
        unverified=sum(not _verifies(copy, secrets) for copy in receiver.copies),
        seconds=seconds,
    )


def _verifies(copy, secrets):
    """Whether the published package verifies a copy with the first secret, and once there are two with both."""
    signatures = len(copy.headers["webhook-signature"].split())
    return all(verified(copy, secret) for secret in secrets[:signatures])


def _endpoint(url):
    with transaction() as session:
        return add_endpoint(session, secret_box(load_settings()), "shop", url, allow_http=True, actor="cli")[1]


def _rotate():
    with transaction() as session:
        return rotate_secret(session, secret_box(load_settings()), "shop", timedelta(hours=1), actor="cli")


def _happen(number):
    with transaction() as session:
        for count in range(number):
            emit(session, EventType.LICENSE_ISSUED, {"number": count})


def _nothing_owed():
    _scan()
    return not _owed()


def _scan():
    """What beat does, as often as the sender can take it."""
    if not queued(app, "deliver"):
        scan_deliveries.delay()


def _owed():
    with reading() as session:
        owed = WebhookDelivery.next_attempt_at.is_not(None)
        return session.scalar(select(func.count()).select_from(WebhookDelivery).where(owed))
