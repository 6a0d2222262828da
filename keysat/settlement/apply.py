"""Writing an outcome: one compare-and-set from the status it was decided upon, and its audit line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Update, case, func, not_, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.events import EventType, emit_invoice
from keysat.invoices.schedule import UNFULFILLED
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice import InvoiceStatus
from keysat.providers.base import InvoiceSnapshot
from keysat.settlement.decision import Action, Outcome, Rules
from keysat.settlement.look import Look
from keysat.settlement.reverse import reverse

_EVENTS = {
    Action.SETTLE: EventType.INVOICE_SETTLED,
    Action.EXPIRE: EventType.INVOICE_EXPIRED,
    Action.INVALIDATE: EventType.INVOICE_INVALID,
    Action.REVIEW: EventType.INVOICE_REVIEW_NEEDED,
}


@dataclass(frozen=True)
class Answer:
    """What the provider said; `paid_at` where it was asked when the money came in, and knew."""

    snapshot: InvoiceSnapshot
    paid_at: datetime | None = None


def apply(session: Session, look: Look, answer: Answer, outcome: Outcome, rules: Rules, actor: str) -> bool:
    """Write the outcome, unless the invoice has moved on since the look; then nothing is written and False returned."""
    snapshot = answer.snapshot
    if outcome.action is Action.REVERSE:
        return reverse(session, look.invoice_id, rules.reversal, f"the provider says {snapshot.said}", actor)
    values: dict[str, Any] = {
        "last_error": outcome.alarm,
        "error_count": 0,
        **_changes(look, snapshot, outcome),
    }
    if answer.paid_at is not None:
        values["paid_at"] = answer.paid_at
    changed = session.scalar(_compare_and_set(look, outcome).values(values).returning(Invoice.id))
    if changed is None:
        return False
    ended = outcome.action in {Action.EXPIRE, Action.INVALIDATE} and outcome.review is None
    if ended or (look.is_last and outcome.action is Action.KEEP):
        cancel(session, look.invoice_id, actor)
    if outcome.action is not Action.KEEP:
        _tell(session, look, outcome)
        paid = None if snapshot.paid is None else str(snapshot.paid)
        audit(
            session,
            actor,
            str(_EVENTS[outcome.action]),
            look.invoice_id,
            provider_says=snapshot.said,
            exception=str(outcome.exception),
            paid=paid,
            review=outcome.review and str(outcome.review),
        )
    return True


def _tell(session: Session, look: Look, outcome: Outcome) -> None:
    """One event for what the invoice became, and another where it also waits for a person now."""
    event_type = _EVENTS[outcome.action]
    emit_invoice(session, event_type, look.invoice_id)
    if outcome.review is not None and event_type is not EventType.INVOICE_REVIEW_NEEDED:
        emit_invoice(session, EventType.INVOICE_REVIEW_NEEDED, look.invoice_id)


def end_gone(session: Session, look: Look, actor: str) -> None:
    """The last look found that the provider no longer knows the invoice: nobody can pay it, so nothing waits for it."""
    session.execute(
        update(Invoice)
        .where(Invoice.id == look.invoice_id, Invoice.status == look.status)
        .values(next_check_at=None)
        .execution_options(synchronize_session=False)
    )
    cancel(session, look.invoice_id, actor)
    audit(session, actor, "invoice.gone", look.invoice_id, why="the provider doesn't know it any more")


def _compare_and_set(look: Look, outcome: Outcome) -> Update:
    statement = (
        update(Invoice)
        .where(Invoice.id == look.invoice_id, Invoice.status == look.status)
        .execution_options(synchronize_session=False)
    )
    if outcome.review is not None:  # of two looks at once that found the same, only one raises the review
        statement = statement.where(not_(Invoice.reviewed.contains([outcome.review])))
    return statement


def _changes(look: Look, snapshot: InvoiceSnapshot, outcome: Outcome) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if look.status != InvoiceStatus.SETTLED:
        changes["paid_amount"] = look.paid_of(snapshot)
    if look.is_last:
        changes["next_check_at"] = None
    if outcome.action is Action.KEEP:
        return changes
    if look.status != InvoiceStatus.SETTLED:
        changes["exception"] = outcome.exception
    match outcome.action:
        case Action.SETTLE:
            changes |= {
                "status": InvoiceStatus.SETTLED,
                "reviewed": [],  # what may be wrong with it from now on is another question
                "settled_at": func.now(),
                # The entry point sends issue_license at once; should that get lost, the scan finds it owed.
                "next_check_at": func.now() + UNFULFILLED,
                "review_resolved_at": case(
                    (Invoice.review_reason.is_(None), None),
                    else_=func.coalesce(Invoice.review_resolved_at, func.now()),
                ),
            }
        case Action.EXPIRE:
            changes["status"] = InvoiceStatus.EXPIRED
        case Action.INVALIDATE:
            changes["status"] = InvoiceStatus.INVALID
    if outcome.review is not None:
        changes |= {
            "review_reason": outcome.review,
            "reviewed": func.array_append(Invoice.reviewed, outcome.review),
            "review_opened_at": func.now(),
            "review_resolved_at": None,
        }
        if look.status == InvoiceStatus.SETTLED:  # a license that was not issued yet waits for the decision
            changes["next_check_at"] = None
    return changes
