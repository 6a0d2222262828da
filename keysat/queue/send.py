"""Sending: one message for each claim, after the commit and best effort; what can't be sent is due at once again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import Celery, Task
from kombu.exceptions import ChannelError, OperationalError
from sqlalchemy.orm import Session

from keysat.core.db import Begin
from keysat.core.errors import BrokerUnavailable
from keysat.core.settings import broker_name, load_settings
from keysat.queue.claim import Claim

BATCH = 500
ClaimRows = Callable[[Session, int], list[Claim]]
GiveBack = Callable[[Session, list[UUID]], None]


def fan_out(begin: Begin, task: Task[Any, Any], claim: ClaimRows, room: int, give_back: GiveBack) -> int:
    """Claim in batches, each committed before its messages are sent; at most `room` in all. Returns how many.

    Raises:
        BrokerUnavailable: the rest of the batch was given back.
    """
    sent = 0
    while sent < room:
        wanted, began = min(BATCH, room - sent), time.monotonic()
        with begin() as session:
            claims = claim(session, wanted)
        send(begin, task, claims, began, give_back)
        sent += len(claims)
        if len(claims) < wanted:
            break
    return sent


def send(begin: Begin, task: Task[Any, Any], claims: list[Claim], claimed_at: float, give_back: GiveBack) -> None:
    """Send one message for each claim, made at `claimed_at` (monotonic) or later.

    Where the claim ends, it expires before the row may be claimed anew: what has passed since is taken off its time.

    Raises:
        BrokerUnavailable: those that couldn't be sent were given back.
    """
    unsent = list(claims)
    try:
        with task.app.producer_or_acquire() as producer:
            while unsent:
                claim, passed = unsent[0], time.monotonic() - claimed_at
                until: dict[str, Any] = {} if claim.seconds is None else {"expires": max(0.0, claim.seconds - passed)}
                task.apply_async((str(claim.row_id),), producer=producer, **until)
                unsent.pop(0)
    except (OperationalError, OSError) as error:
        with begin() as session:
            give_back(session, [claim.row_id for claim in unsent])
        raise BrokerUnavailable(broker_name(load_settings()), str(error) or type(error).__name__) from error


def queued(app: Celery[Any], queue: str) -> int:
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
