"""Send one message per claim after the commit, best effort. Claims that can't be sent are released."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import Celery, Task
from kombu.exceptions import ChannelError, OperationalError
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.core.errors import BrokerUnavailable, InvalidInput
from keysat.core.settings import broker_name, load_settings
from keysat.queue.claim import Claim

BATCH = 500
ClaimRows = Callable[[Session, int], list[Claim]]
GiveBack = Callable[[Session, list[UUID]], None]


def fan_out(database: Database, task: Task[Any, Any], claim: ClaimRows, room: int, give_back: GiveBack) -> int:
    """Claim up to `room` rows in batches, each committed before its messages are sent. Returns the number sent.

    Raises:
        BrokerUnavailable: the unsent claims of the batch were released.
    """
    sent = 0
    while sent < room:
        wanted, began = min(BATCH, room - sent), time.monotonic()
        with database.transaction() as session:
            claims = claim(session, wanted)
        send(database, task, claims, began, give_back)
        sent += len(claims)
        if len(claims) < wanted:
            break
    return sent


def send(database: Database, task: Task[Any, Any], claims: list[Claim], claimed_at: float, give_back: GiveBack) -> None:
    """Send one message for each claim, made at `claimed_at` (monotonic) or later.

    If the claim ends, the message expires before the row may be claimed again. Its time is reduced by the time since
    `claimed_at`. No message is sent for a claim that has ended, since its row may be claimed again.

    Raises:
        BrokerUnavailable: the unsent claims were released.
    """
    unsent = list(claims)
    try:
        with task.app.producer_or_acquire() as producer:
            while unsent:
                claim, passed = unsent[0], time.monotonic() - claimed_at
                left = None if claim.seconds is None else claim.seconds - passed
                if left is None or left > 0:
                    until: dict[str, Any] = {} if left is None else {"expires": left}
                    task.apply_async((str(claim.row_id),), producer=producer, **until)
                unsent.pop(0)
    except (OperationalError, OSError) as error:
        with database.transaction() as session:
            give_back(session, [claim.row_id for claim in unsent])
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error


def queued(app: Celery[Any], queue: str) -> int:
    """Return the number of messages in a queue.

    Raises:
        BrokerUnavailable: the broker doesn't respond.
    """
    try:
        with app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0  # an empty Redis list doesn't exist
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error


def as_id(text: str) -> UUID:
    """Parse an id from an untrusted message.

    Raises:
        InvalidInput: the text is not an id.
    """
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{str(text)[:60]!r} is not an id.") from None
