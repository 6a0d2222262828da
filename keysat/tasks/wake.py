"""Waking a worker at once for what a transaction wrote; where that can't be done, a scan does it within seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Task
from kombu.exceptions import OperationalError

from keysat.core import background
from keysat.core.db import after_commit, transaction
from keysat.core.errors import BrokerUnavailable
from keysat.core.logs import get_logger
from keysat.core.settings import broker_name, load_settings
from keysat.queue.claim import Claim
from keysat.queue.outbox import DELIVERIES
from keysat.queue.send import GiveBack, send
from keysat.tasks.app import app

DELIVERY_MESSAGE_SECONDS = 10
# While the broker is away, not every transaction of a web server waits for it to find that out.
_REST_SECONDS = 10.0

log = get_logger(__name__)


@dataclass
class _Broker:
    """What this process knows of the broker: until when it isn't bothered for what a scan does as well."""

    rests_until: float = 0.0

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago."""
        return time.monotonic() <= self.rests_until

    def rest(self) -> None:
        """It has just failed."""
        self.rests_until = time.monotonic() + _REST_SECONDS


_broker = _Broker()


@after_commit
def wake_deliveries(notes: dict[Any, Any]) -> None:
    """Have the deliveries that a transaction wrote sent at once; what this can't do, a scan does within seconds."""
    pending: list[UUID] = notes.pop(DELIVERIES, [])
    if pending and not _broker.rests:
        background.run(lambda: _wake_deliveries(pending))


def _wake_deliveries(delivery_ids: list[UUID]) -> None:
    if _broker.rests:  # since it was put in the queue
        return
    try:
        send_deliveries(delivery_ids)
    except BrokerUnavailable as error:
        _broker.rest()
        log.info("outbound webhooks wait for the next scan", reason=str(error))


def wake(task: Task[Any, Any], claim: Claim, claimed_at: float, give_back: GiveBack) -> None:
    """Send a message for a claim at once, or give it back for the next scan; a request doesn't wait for it."""
    if not background.run(lambda: _wake(task, claim, claimed_at, give_back)):
        log.warning("too much waits to be sent; left to the scan", task=task.name, row_id=str(claim.row_id))


def _wake(task: Task[Any, Any], claim: Claim, claimed_at: float, give_back: GiveBack) -> None:
    if _broker.rests:
        with transaction() as session:
            give_back(session, [claim.row_id])
        return
    try:
        send(transaction, task, [claim], claimed_at, give_back)
    except BrokerUnavailable as error:
        _broker.rest()
        log.warning("left to the scan", task=task.name, row_id=str(claim.row_id), reason=str(error))


def send_deliveries(delivery_ids: list[UUID]) -> None:
    """Send a `deliver_webhook` for each delivery; it expires when a scan has had the time to send another.

    Raises:
        BrokerUnavailable: nobody could be told; the deliveries stay due.
    """
    try:
        with app.producer_or_acquire() as producer:
            for delivery_id in delivery_ids:
                app.send_task(
                    "keysat.deliver_webhook", (str(delivery_id),), expires=DELIVERY_MESSAGE_SECONDS, producer=producer
                )
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error
