"""Claim tips and change their status. Each change is a compare-and-set, so two workers can't pay a tip twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal, select, update
from sqlalchemy.orm import Session

from keysat.models import Tip, TipPayment
from keysat.models.audit import audit
from keysat.models.columns import seconds
from keysat.models.tip import TipStatus
from keysat.queue.claim import Claim, claim, release
from keysat.queue.outbox import EventType, emit
from keysat.tips.authorize import OLDER_THAN_RESTORE, is_older_than_restore, objection
from keysat.tips.bolt11 import Bolt11

# How long a claim lasts before the tip can be claimed again: several calls of 10 s.
CLAIM = timedelta(minutes=2)
LOOK_UP_AGAIN = timedelta(seconds=30)
LOOK_UP_SLOWLY = timedelta(hours=1)
LONG_OVER = timedelta(hours=1)
# An invoice is sent again only while it remains payable for TO_SPARE, and at most MAX_SENDS times in total.
TO_SPARE = timedelta(seconds=30)
MAX_SENDS = 10
OVER_BUDGET = timedelta(hours=1)
DAY = timedelta(hours=24)
# Waits between attempts that certainly failed: 1 min, doubling up to 6 h, so that ten take about two days.
_FIRST_WAIT, _MAX_WAIT_SECONDS = 60, 6 * 3600
MAX_ATTEMPTS = 10
_MAX_WAIT = timedelta(seconds=_MAX_WAIT_SECONDS + 60)
_BUDGET_LOCK = 7_418_063


@dataclass(frozen=True)
class Budget:
    """The max total of tips within 24 hours, in millisatoshi."""

    daily_msat: int


def claim_tips(session: Session, limit: int) -> list[Claim]:
    """Claim pending tips, and postpone each one's next attempt, so that no other worker takes it."""
    return claim(session, Tip.next_attempt_at, limit, func.now() + CLAIM, max_wait=_MAX_WAIT)


def release_tips(session: Session, tip_ids: list[UUID]) -> None:
    """Make claimed tips due at once again."""
    release(session, Tip.next_attempt_at, tip_ids)


def begin_paying(session: Session, tip: Tip, invoice: Bolt11, budget: Budget) -> bool:
    """Commit to one invoice before it is paid, and authorize the payment in the same transaction.

    Return False if another worker did, if the daily budget is exceeded, if the tip must wait for a person, or if the
    invoice can't be paid any more. One lock for all tips keeps concurrent payments within the budget.

    Raises, when the transaction ends:
        Conflict: a tip was committed to this invoice before. The node's record of that payment, such as a failure,
            would pass for the outcome of this one.
    """
    if (why := objection(session, tip)) is not None:
        hold(session, tip, why)
        return False
    session.execute(select(func.pg_advisory_xact_lock(_BUDGET_LOCK)))
    spent = select(func.coalesce(func.sum(Tip.amount_msat), 0)).where(
        Tip.status.in_([TipStatus.PAYING, TipStatus.SENT]), Tip.paying_since > func.now() - DAY
    )
    if int(session.scalar(spent) or 0) + tip.amount_msat > budget.daily_msat:
        _set(
            session,
            tip,
            next_attempt_at=func.now() + OVER_BUDGET,
            last_error=f"the tips of the last 24 hours leave no room for it in {budget.daily_msat // 1000:,} sats",
        )
        return False
    begun = _set(
        session,
        tip,
        literal(invoice.payable_until) > func.clock_timestamp(),  # by the database clock
        status=TipStatus.PAYING,
        bolt11=invoice.text,
        payment_hash=invoice.payment_hash,
        payable_until=invoice.payable_until,
        resent=False,
        paying_since=func.clock_timestamp(),
        next_attempt_at=func.now() + CLAIM,
        attempts=Tip.attempts + 1,
        last_error=None,
    )
    if begun:
        session.add(TipPayment(payment_hash=invoice.payment_hash, tip_id=tip.id))
    return begun


def begin_again(session: Session, tip: Tip) -> bool:
    """Commit to sending the same invoice again, because the provider has no payment for it.

    A Lightning node pays an invoice once, and its recipient accepts it once, so this can't pay twice, unlike a new
    invoice. This requires that the invoice can still be paid by the database clock, that the sale is still valid, and
    that the database was not restored since.
    """
    if tip.attempts >= MAX_SENDS or objection(session, tip) is not None:
        return False
    in_time = Tip.payable_until > func.clock_timestamp() + TO_SPARE
    return _set(session, tip, in_time, attempts=Tip.attempts + 1, resent=True, next_attempt_at=func.now() + CLAIM)


def end_sent(session: Session, tip: Tip, fee_msat: int | None, actor: str) -> None:
    """Mark the tip as sent. `fee_msat` is in millisatoshi."""
    sent = {"status": TipStatus.SENT, "next_attempt_at": None, "ended_at": func.now(), "last_error": None}
    if _set(session, tip, **sent, fee_msat=fee_msat):
        emit_tip(session, tip, EventType.TIP_SENT)
        audit(session, actor, "tip.sent", tip.id, recipient=tip.recipient, amount_msat=tip.amount_msat, fee=fee_msat)


def look_up_later(session: Session, tip: Tip) -> None:
    """Schedule another lookup of a payment with an unknown outcome, at long intervals once its invoice is long over.

    No other invoice is paid even then, since a missing response proves nothing. A person decides.
    """
    long_over = Tip.payable_until < func.now() - LONG_OVER
    wait = case((long_over, LOOK_UP_SLOWLY), else_=LOOK_UP_AGAIN)
    _set(session, tip, next_attempt_at=func.now() + wait, last_error="the outcome of the payment isn't known yet")


def payment_failed(session: Session, tip: Tip, actor: str) -> None:
    """Handle a payment that the provider reports as failed.

    After two requests, one may have failed while the other is still in progress. The failure is then accepted only once
    the invoice is long over, since until then the other request could pay it in addition to a second invoice.
    """
    unsure = select(Tip.id).where(Tip.id == tip.id, Tip.resent, Tip.payable_until >= func.now() - LONG_OVER)
    if session.scalar(unsure) is not None:
        look_up_later(session, tip)
        return
    try_again(session, tip, "the provider found no way to pay it", actor)


def try_again(session: Session, tip: Tip, why: str, actor: str) -> None:
    """Schedule another attempt with a new invoice after a certain failure. The tenth attempt is the last.

    A tip older than a restore is put on hold instead, since it may have a payment that is unknown here.
    """
    if is_older_than_restore(session, tip):
        hold(session, tip, OLDER_THAN_RESTORE)
        return
    attempts = Tip.attempts + (1 if tip.status == TipStatus.OWED else 0)
    if tip.attempts + (1 if tip.status == TipStatus.OWED else 0) >= MAX_ATTEMPTS:
        fail(session, tip, why, actor)
        return
    wait = func.least(_MAX_WAIT_SECONDS, _FIRST_WAIT * func.power(2, Tip.attempts))
    _set(
        session,
        tip,
        status=TipStatus.OWED,
        attempts=attempts,
        paying_since=None,
        next_attempt_at=func.now() + seconds(wait),
        last_error=why,
    )


def fail(session: Session, tip: Tip, why: str, actor: str) -> None:
    """Mark the tip as failed: nothing was paid, and only a person can retry it."""
    failed = {"status": TipStatus.FAILED, "next_attempt_at": None, "ended_at": func.now(), "last_error": why}
    if _set(session, tip, **failed, paying_since=None):
        emit_tip(session, tip, EventType.TIP_FAILED, reason=why)
        audit(session, actor, "tip.failed", tip.id, recipient=tip.recipient, reason=why)


def hold(session: Session, tip: Tip, why: str) -> None:
    """Put the tip on hold until a person allows it with `keysat tip retry`."""
    held = {"status": TipStatus.HELD, "next_attempt_at": None, "last_error": why, "paying_since": None}
    if _set(session, tip, **held):
        audit(session, "tips", "tip.held", tip.id, recipient=tip.recipient, reason=why)


def skip(session: Session, tip: Tip, why: str, actor: str) -> None:
    """Mark the tip as skipped: it can't be paid here at all."""
    skipped = {"status": TipStatus.SKIPPED, "next_attempt_at": None, "ended_at": func.now(), "last_error": why}
    if _set(session, tip, **skipped):
        audit(session, actor, "tip.skipped", tip.id, recipient=tip.recipient, reason=why)


def _set(session: Session, tip: Tip, *also: ColumnElement[bool], **values: object) -> bool:
    """Write, unless the tip's status, payment or attempts changed since it was read."""
    same_payment = Tip.payment_hash.is_not_distinct_from(tip.payment_hash)
    changed = session.scalar(
        update(Tip)
        .where(Tip.id == tip.id, Tip.status == tip.status, same_payment, Tip.attempts == tip.attempts, *also)
        .values(values)
        .returning(Tip.id)
    )
    return changed is not None


def emit_tip(session: Session, tip: Tip, event_type: EventType, **more: object) -> None:
    """Emit a webhook event about the outcome of a tip."""
    facts = {"tip_id": tip.id, "license_id": tip.license_id, "invoice_id": tip.invoice_id, "label": tip.label}
    facts |= {"recipient": tip.recipient, "amount_msat": tip.amount_msat, **more}
    emit(session, event_type, facts, invoice_id=tip.invoice_id, license_id=tip.license_id)
