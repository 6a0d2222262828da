"""Admin routes for tips to Lightning Addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from keysat.core.db import reading, transaction
from keysat.models.tip import TipStatus
from keysat.tips import manage
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Before, Done, Limit, Note, Row
from keysat.web.errors import documented

router = APIRouter(prefix="/tips", tags=["admin: tips"])

TipId = Annotated[UUID, Path(description="The tip's id.")]


class TipRow(Row):
    """A stored tip, in millisatoshi. While it is `paying`, its payment may have been sent."""

    id: UUID
    invoice_id: UUID
    license_id: UUID
    recipient: str
    label: str
    amount_msat: int
    status: TipStatus | str
    payment_hash: str | None
    paying_since: datetime | None
    next_attempt_at: datetime | None
    attempts: int
    fee_msat: int | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None


@router.get("", responses=documented())
def search_tips(_: Reader, status: TipStatus | None = None, limit: Limit = 50, before: Before = None) -> list[TipRow]:
    """Find tips, newest first."""
    with reading() as session:
        return [TipRow.model_validate(row) for row in manage.list_tips(session, status, limit, before)]


@router.get("/{tip_id}", responses=documented(404))
def get_tip(tip_id: TipId, _: Reader) -> TipRow:
    """Get a tip."""
    with reading() as session:
        return TipRow.model_validate(manage.require_tip(session, tip_id))


@router.post("/{tip_id}/sent", responses=documented(404, 409))
def mark_sent(tip_id: TipId, decision: Note, actor: Writer) -> Done:
    """Mark a tip as paid whose payment was found at the node. No payment is made."""
    with transaction() as session:
        manage.mark_sent(session, tip_id, decision.note, actor)
    return Done()


@router.post("/{tip_id}/retry", responses=documented(404, 409))
def retry_tip(tip_id: TipId, actor: Writer) -> Done:
    """Retry a tip that failed or was skipped."""
    with transaction() as session:
        manage.retry_tip(session, tip_id, actor=actor)
    return Done()


@router.post("/{tip_id}/release", responses=documented(404, 409))
def release_tip(tip_id: TipId, decision: Note, actor: Writer) -> Done:
    """Retry a tip that is held or whose payment's outcome is unknown. The note must explain that it wasn't paid."""
    with transaction() as session:
        manage.retry_tip(session, tip_id, decision.note, actor=actor)
    return Done()
