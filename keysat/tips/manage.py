"""The operator's side of tips: finding them, and letting one that ended be tried again."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.errors import Conflict, NotFound
from keysat.models import Tip
from keysat.models.audit import audit
from keysat.models.tip import TipStatus


def list_tips(session: Session, status: TipStatus | None, limit: int, before: UUID | None = None) -> list[Tip]:
    """The newest tips, at most so many, older than the one with the id `before`."""
    wanted = select(Tip).order_by(Tip.id.desc()).limit(limit)
    if status is not None:
        wanted = wanted.where(Tip.status == status)
    if before is not None:
        wanted = wanted.where(Tip.id < before)
    return list(session.scalars(wanted))


def count_failed(session: Session) -> int:
    """How many tips failed."""
    failed = select(func.count()).select_from(Tip).where(Tip.status == TipStatus.FAILED)
    return session.scalar(failed) or 0


def require_tip(session: Session, tip_id: UUID) -> Tip:
    """The tip of that id.

    Raises:
        NotFound: there is none.
    """
    tip = session.get(Tip, tip_id)
    if tip is None:
        raise NotFound("tip", tip_id, "`keysat tip list` shows them.")
    return tip


def retry(session: Session, tip_id: UUID, actor: str = "cli") -> None:
    """Let a tip that failed or was skipped be tried again; nothing of it was paid, for certain.

    Raises:
        NotFound: no such tip.
        Conflict: it was sent, or its payment may be on its way, or it is tried anyway.
    """
    ended = Tip.status.in_([TipStatus.FAILED, TipStatus.SKIPPED])
    owed = {"status": TipStatus.OWED, "next_attempt_at": func.now(), "attempts": 0, "ended_at": None}
    changed = session.scalar(
        update(Tip)
        .where(Tip.id == tip_id, ended)
        .values(owed)
        .returning(Tip.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        status = require_tip(session, tip_id).status
        why = {
            TipStatus.SENT: "was sent",
            TipStatus.OWED: "is tried anyway",
            TipStatus.PAYING: "has a payment whose outcome isn't known yet, and paying again could pay it twice",
        }[TipStatus(status)]
        raise Conflict(f"tip {tip_id} {why}.")
    audit(session, actor, "tip.retried", tip_id)
