"""List tips for the operator, retry one that ended, or mark one as sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput, require
from keysat.core.hints import Hint
from keysat.models import Tip
from keysat.models.audit import audit
from keysat.models.columns import newest
from keysat.models.epoch import current_epoch
from keysat.models.tip import TipStatus
from keysat.queue.outbox import EventType
from keysat.tips.authorize import is_older_than_restore
from keysat.tips.due import LONG_OVER, emit_tip

_RETRIABLE = (TipStatus.FAILED, TipStatus.SKIPPED, TipStatus.HELD)


def list_tips(session: Session, status: TipStatus | None, limit: int, before: UUID | None = None) -> list[Tip]:
    """Return the newest tips, at most `limit`, older than the one with the id `before`."""
    wanted = select(Tip) if status is None else select(Tip).where(Tip.status == status)
    return list(session.scalars(newest(wanted, Tip.id, limit, before)))


def count_failed(session: Session) -> int:
    failed = select(func.count()).select_from(Tip).where(Tip.status == TipStatus.FAILED)
    return session.scalar(failed) or 0


def require_tip(session: Session, tip_id: UUID) -> Tip:
    """Return the tip with this id.

    Raises:
        NotFound: no such tip.
    """
    return require(session.get(Tip, tip_id), "tip", tip_id, Hint.LIST_TIPS)


def count_held(session: Session) -> int:
    held = select(func.count()).select_from(Tip).where(Tip.status == TipStatus.HELD)
    return session.scalar(held) or 0


def retry_tip(session: Session, tip_id: UUID, note: str = "", *, actor: str) -> None:
    """Retry a tip that failed, was skipped or is `held`, or whose payment's invoice ended over an hour ago.

    A note on how it is known that nothing was paid is required if the tip is `held`, is older than a restore, or has a
    payment with an unknown outcome.

    Raises:
        NotFound: no such tip.
        InvalidInput: it needs a note.
        Conflict: it was sent, its payment may be in progress, or it is still being tried.
    """
    tip = require_tip(session, tip_id)
    uncertain = tip.status in {TipStatus.HELD, TipStatus.PAYING} or is_older_than_restore(session, tip)
    if uncertain and not note.strip():
        raise InvalidInput(
            f"tip {tip_id} may have been paid; check the node, then say what you found, for the audit log.",
            Hint.GIVE_NOTE_ON_TIP,
            tip_id=tip_id,
        )
    retried = {"status": TipStatus.OWED, "next_attempt_at": func.now(), "attempts": 0, "ended_at": None}
    retried |= {"epoch": current_epoch().scalar_subquery(), "paying_since": None}
    changed = _end(session, tip_id, or_(Tip.status.in_(_RETRIABLE), _over()), retried)
    if not changed:
        raise _refusal(tip)
    audit(session, actor, "tip.retried", tip_id, **({"note": note} if note.strip() else {}))


def mark_sent(session: Session, tip_id: UUID, note: str, actor: str) -> None:
    """Mark a tip as sent after a person saw that it was paid.

    Raises:
        NotFound: no such tip.
        InvalidInput: the note is empty.
        Conflict: it was sent already.
    """
    tip = require_tip(session, tip_id)
    if not note.strip():
        raise InvalidInput("say how you know, for the audit log.", Hint.GIVE_NOTE)
    sent = {"status": TipStatus.SENT, "next_attempt_at": None, "ended_at": func.now(), "last_error": None}
    if not _end(session, tip_id, Tip.status != TipStatus.SENT, sent):
        raise _refusal(tip)
    emit_tip(session, tip, EventType.TIP_SENT)
    audit(session, actor, "tip.sent", tip_id, note=note, by_hand=True)


def _over() -> ColumnElement[bool]:
    """The condition that a payment's invoice ended so long ago that a person may decide its outcome."""
    return and_(Tip.status == TipStatus.PAYING, Tip.payable_until < func.now() - LONG_OVER)


def _end(session: Session, tip_id: UUID, allowed: ColumnElement[bool], values: dict[str, Any]) -> bool:
    changed = update(Tip).where(Tip.id == tip_id, allowed).values(values).returning(Tip.id)
    return session.scalar(changed) is not None


def _refusal(tip: Tip) -> Conflict:
    why = {
        TipStatus.SENT: "was sent",
        TipStatus.OWED: "is tried anyway",
        TipStatus.PAYING: "has a payment whose outcome isn't known yet, and paying again could pay it twice",
    }.get(tip.status, "changed in between")
    return Conflict(f"tip {tip.id} {why}.")
