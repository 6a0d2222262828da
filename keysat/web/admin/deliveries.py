"""Admin routes for deliveries of outbound webhooks: sent and pending ones, and sending again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from keysat.core.db import reading, transaction
from keysat.queue.outbox import EventType
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Before, Done, Limit, Row
from keysat.web.errors import documented
from keysat.web.fields import Input, Moment, Slug
from keysat.webhooks.deliveries import DeliveryStatus, Filter, list_deliveries, show_delivery
from keysat.webhooks.replay import count_replay, replay, resend_delivery

router = APIRouter(prefix="/deliveries", tags=["admin: outbound webhooks"])

DeliveryId = Annotated[UUID, Path(description="The delivery's id.")]


class DeliveryRow(Row):
    """A delivery. `failed` is a dead letter. `attempts` are those of the current ten."""

    id: UUID
    event: str
    endpoint: str
    status: DeliveryStatus
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: int
    last_error: str | None


class AttemptRow(Row):
    """One attempt: status and first 2,000 bytes of the response, or why there was none."""

    at: datetime
    status_code: int | None
    answer: str | None
    error: str | None
    duration_ms: int


class DeliveryDetails(DeliveryRow):
    """A delivery with its body and all its attempts, oldest first."""

    body: str
    attempt_log: list[AttemptRow]


class Replay(Input):
    """Selects finished deliveries to send again, at `rate` a second (0 = all at once)."""

    endpoint: Slug | None = None
    event: EventType | None = None
    status: DeliveryStatus | None = DeliveryStatus.FAILED
    since: Moment | None = None
    rate: Annotated[float, Field(ge=0, le=1_000)] = 10
    dry_run: bool = False


class Replayed(BaseModel):
    """The number of deliveries that are or would be sent again."""

    count: int


@router.get("")
def search_deliveries(
    _: Reader,
    endpoint: Slug | None = None,
    event: EventType | None = None,
    status: DeliveryStatus | None = None,
    since: Annotated[Moment | None, Query(description="Only of events since then.")] = None,
    limit: Limit = 50,
    before: Before = None,
) -> list[DeliveryRow]:
    """Find deliveries, newest first."""
    with reading() as session:
        rows = list_deliveries(session, Filter(endpoint, event, status, since), limit, before)
    return [DeliveryRow.model_validate(row) for row in rows]


@router.get("/{delivery_id}", responses=documented(404))
def get_delivery(delivery_id: DeliveryId, _: Reader) -> DeliveryDetails:
    """Get a delivery with its body and its attempts."""
    with reading() as session:
        row, body, attempts = show_delivery(session, delivery_id)
    log = [AttemptRow.model_validate(attempt) for attempt in attempts]
    return DeliveryDetails(**DeliveryRow.model_validate(row).model_dump(), body=body, attempt_log=log)


@router.post("/replay")
def replay_deliveries(body: Replay, actor: Writer) -> Replayed:
    """Send many deliveries again, oldest first. Earlier attempts stay on record."""
    which = Filter(body.endpoint, body.event, body.status, body.since)
    if body.dry_run:
        with reading() as session:
            return Replayed(count=count_replay(session, which))
    with transaction() as session:
        return Replayed(count=replay(session, which, body.rate, actor))


@router.post("/{delivery_id}/retry", responses=documented(404, 409))
def retry_delivery(delivery_id: DeliveryId, actor: Writer) -> Done:
    """Send a delivery again, at once and with ten attempts. Earlier attempts stay on record."""
    with transaction() as session:
        resend_delivery(session, delivery_id, actor)
    return Done()
