"""Wake a worker at once for the rows of a transaction. If that fails, a scan sends them within seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Task
from kombu.exceptions import OperationalError

from keysat.core import background
from keysat.core.db import DATABASE, after_commit, transaction
from keysat.core.errors import BrokerUnavailable
from keysat.core.logs import get_logger
from keysat.core.settings import broker_name, load_settings
from keysat.mail.owe import MAILS
from keysat.queue.claim import Claim
from keysat.queue.outbox import DELIVERIES
from keysat.queue.send import GiveBack, send
from keysat.tasks.app import app

DELIVERY_MESSAGE_SECONDS = 10
# While the broker is down, most transactions of a web server skip it instead of waiting for an error.
_REST_SECONDS = 10.0

log = get_logger(__name__)


@dataclass
class _Broker:
    """The broker's state in this process: until when it isn't used for messages that a scan can also send."""

    rests_until: float = 0.0

    @property
    def rests(self) -> bool:
        """Whether the broker failed a moment ago."""
        return time.monotonic() <= self.rests_until

    def rest(self) -> None:
        """Skip the broker for a while after a failure."""
        self.rests_until = time.monotonic() + _REST_SECONDS


_broker = _Broker()


@after_commit
def wake_deliveries(notes: dict[Any, Any]) -> None:
    """Send a transaction's new deliveries and mails at once. A scan sends any others within seconds."""
    pending: list[UUID] = notes.pop(DELIVERIES, [])
    mails: list[UUID] = notes.pop(MAILS, [])
    if (pending or mails) and not _broker.rests:
        background.run(lambda: _wake_senders(pending, mails))


def _wake_senders(delivery_ids: list[UUID], mail_ids: list[UUID]) -> None:
    if _broker.rests:  # it may have failed since this was queued
        return
    try:
        send_deliveries(delivery_ids)
        send_mail_messages(mail_ids)
    except BrokerUnavailable as error:
        _broker.rest()
        log.info("outbound webhooks and mails wait for the next scan", reason=str(error))


def wake(task: Task[Any, Any], claim: Claim, claimed_at: float, give_back: GiveBack) -> None:
    """Send a message for a claim in the background. Without room for it, the row waits until it is due again."""
    if not background.run(lambda: _wake(task, claim, claimed_at, give_back)):
        log.warning("too much waits to be sent; left to the scan", task=task.name, row_id=str(claim.row_id))


def _wake(task: Task[Any, Any], claim: Claim, claimed_at: float, give_back: GiveBack) -> None:
    if _broker.rests:
        with transaction() as session:
            give_back(session, [claim.row_id])
        return
    try:
        send(DATABASE, task, [claim], claimed_at, give_back)
    except BrokerUnavailable as error:
        _broker.rest()
        log.warning("left to the scan", task=task.name, row_id=str(claim.row_id), reason=str(error))


def send_deliveries(delivery_ids: list[UUID]) -> None:
    """Send a `deliver_webhook` for each delivery. It expires once a scan has had time to send another.

    Raises:
        BrokerUnavailable: messages couldn't be sent. The deliveries stay pending.
    """
    _send_short_lived("keysat.deliver_webhook", delivery_ids)


def send_mail_messages(mail_ids: list[UUID]) -> None:
    """Send a `deliver_mail` for each mail, like `send_deliveries`. Raises `BrokerUnavailable`."""
    _send_short_lived("keysat.deliver_mail", mail_ids)


def _send_short_lived(task: str, row_ids: list[UUID]) -> None:
    try:
        with app.producer_or_acquire() as producer:
            for row_id in row_ids:
                app.send_task(task, (str(row_id),), expires=DELIVERY_MESSAGE_SECONDS, producer=producer)
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error
