"""Retry a task whose provider fails, a few times and soon. After that the row's own schedule applies."""

from __future__ import annotations

import random
import traceback
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from celery import Task

from keysat.core import clock
from keysat.core.db import transaction
from keysat.core.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    KeysatError,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.settlement.failed_check import give_up

MAX_RETRIES = 3
MAX_BACKOFF_SECONDS = 20.0
# A message that waits longer than the broker's visibility timeout is delivered repeatedly.
MAX_COUNTDOWN_SECONDS = 60.0
_RETRIABLE = (RemoteUnavailable, RemoteResponseInvalid, DatabaseUnavailable, DatabaseBusy)


def again_or_give_up(task: Task[Any, Any], invoice_id: UUID, error: KeysatError) -> NoReturn:
    """Retry soon if the error is retriable and the message doesn't expire first. Otherwise leave it to the schedule.

    Retries at most 3 times, with exponential backoff and full jitter from 1 s, or after the delay the provider
    requested.
    """
    _let_go(error)
    retries = task.request.retries
    delay = backoff(error, retries)
    in_time = delay < min(_seconds_left(task), MAX_COUNTDOWN_SECONDS)
    if isinstance(error, _RETRIABLE) and retries < MAX_RETRIES and in_time:
        raise task.retry(exc=error, countdown=delay, max_retries=MAX_RETRIES)
    if not isinstance(error, DatabaseUnavailable):
        with transaction() as session:
            give_up(session, invoice_id, error)
    raise error


def _let_go(error: BaseException) -> None:
    """Clear the frames of a failed call, which reference the data it read.

    A re-raised error refers to itself through its frames. Without this, all of it, perhaps a megabyte per call, would
    stay in memory until a full garbage collection.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def backoff(error: KeysatError, retries: int) -> float:
    """Return the seconds until the next try: a random share of 1, 2, 4 ... 20, after any `retry_after`."""
    jittered = random.uniform(0, min(MAX_BACKOFF_SECONDS, 2.0**retries))  # noqa: S311 - not a secret
    requested = error.retry_after if isinstance(error, RemoteUnavailable) else None
    return jittered if requested is None else requested + jittered


def _seconds_left(task: Task[Any, Any]) -> float:
    expires: object = task.request.expires  # ISO 8601, as in the message
    if not isinstance(expires, str):
        return MAX_BACKOFF_SECONDS
    return (datetime.fromisoformat(expires) - clock.now()).total_seconds()
