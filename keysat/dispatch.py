"""Between the tasks and the broker: sending what was claimed, the room that is left, and trying again.

Sending comes after the commit and is best effort. What can't be sent is given back, so that it is due at once.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from celery import Task
from kombu.exceptions import ChannelError, OperationalError
from sqlalchemy.orm import Session

from keysat import background, clock
from keysat.claims import Claim
from keysat.db import after_commit, transaction
from keysat.errors import (
    BrokerUnavailable,
    DatabaseBusy,
    DatabaseUnavailable,
    InvalidInput,
    KeysatError,
    RemoteAnswerInvalid,
    RemoteUnavailable,
)
from keysat.events import DELIVERIES
from keysat.invoices.due import release
from keysat.logs import get_logger
from keysat.settings import broker_name, load_settings
from keysat.settlement.reconcile import give_up
from keysat.worker import app

BATCH = 500
MAX_RETRIES = 3
LONGEST_BACKOFF_SECONDS = 20.0
# A message that waits longer than the broker's visibility timeout is delivered again and again.
LONGEST_COUNTDOWN_SECONDS = 60.0
DELIVERY_MESSAGE_SECONDS = 10
# A sweep shares its worker with scans, so it goes on in a message of its own after a while.
SWEEP_SECONDS, SWEEP_MESSAGE_SECONDS = 10.0, 60
PRUNE_SECONDS = 20.0  # what is left then goes the next time
# While the broker is away, not every transaction of a web server waits for it to find that out.
_REST_SECONDS = 10.0
GiveBack = Callable[[Session, list[UUID]], None]
_RETRIABLE = (RemoteUnavailable, RemoteAnswerInvalid, DatabaseUnavailable, DatabaseBusy)

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


def fan_out(
    task: Task[Any, Any], claim: Callable[[Session, int], list[Claim]], room: int, give_back: GiveBack = release
) -> int:
    """Claim in batches, each committed before its messages are sent; at most `room` in all. Returns how many.

    Raises:
        BrokerUnavailable: the rest of the batch was given back.
    """
    sent = 0
    while sent < room:
        wanted, began = min(BATCH, room - sent), time.monotonic()
        with transaction() as session:
            claims = claim(session, wanted)
        send(task, claims, began, give_back)
        sent += len(claims)
        if len(claims) < wanted:
            break
    return sent


def send(task: Task[Any, Any], claims: list[Claim], claimed_at: float, give_back: GiveBack = release) -> None:
    """Send one message for each claim, made at `claimed_at` (monotonic) or later.

    Where the claim ends, it expires before the row may be claimed anew: what has passed since is taken off its time.

    Raises:
        BrokerUnavailable: those that couldn't be sent were given back.
    """
    unsent = list(claims)
    try:
        with app.producer_or_acquire() as producer:
            while unsent:
                claim, passed = unsent[0], time.monotonic() - claimed_at
                until: dict[str, Any] = {} if claim.seconds is None else {"expires": max(0.0, claim.seconds - passed)}
                task.apply_async((str(claim.row_id),), producer=producer, **until)
                unsent.pop(0)
    except (OperationalError, OSError) as error:
        with transaction() as session:
            give_back(session, [claim.row_id for claim in unsent])
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error


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
        send(task, [claim], claimed_at, give_back)
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


def queued(queue: str) -> int:
    """How many messages wait in a queue.

    Raises:
        BrokerUnavailable: the broker doesn't answer.
    """
    try:
        with app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0  # a Redis list that holds nothing doesn't exist
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error


def as_id(text: str) -> UUID:
    """Read an id from a message that anyone may have written.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{str(text)[:60]!r} is not an id.") from None


def again_or_give_up(task: Task[Any, Any], invoice_id: UUID, error: KeysatError) -> NoReturn:
    """Try again in a moment where that makes sense and the message still has the time; else leave it to the row.

    Exponential backoff with full jitter from 1 s on, at most 3 times, or what the provider asked for.
    """
    _let_go(error)
    retries = task.request.retries
    delay = backoff(error, retries)
    in_time = delay < min(_seconds_left(task), LONGEST_COUNTDOWN_SECONDS)
    if isinstance(error, _RETRIABLE) and retries < MAX_RETRIES and in_time:
        raise task.retry(exc=error, countdown=delay, max_retries=MAX_RETRIES)
    if not isinstance(error, DatabaseUnavailable):
        with transaction() as session:
            give_up(session, invoice_id, error)
    raise error


def _let_go(error: BaseException) -> None:
    """Empty the frames of a failed call, which hold what was read.

    An error that is raised anew refers to itself through them, so that all of it, perhaps a megabyte a call, would stay
    until the garbage collector goes through everything.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def backoff(error: KeysatError, retries: int) -> float:
    """Seconds until the next try: the provider's wish, or a random share of 1, 2, 4 ... 20."""
    jittered = random.uniform(0, min(LONGEST_BACKOFF_SECONDS, 2.0**retries))  # noqa: S311 - not a secret
    wish = error.retry_after if isinstance(error, RemoteUnavailable) else None
    return jittered if wish is None else wish + jittered


def _seconds_left(task: Task[Any, Any]) -> float:
    expires: object = task.request.expires  # as it travels in the message: ISO 8601
    if not isinstance(expires, str):
        return LONGEST_BACKOFF_SECONDS
    return (datetime.fromisoformat(expires) - clock.now()).total_seconds()
