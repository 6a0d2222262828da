"""Write an outcome with one compare-and-set on the status it was decided from, plus an audit entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Update, case, func, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.invoices.schedule import FINAL_AFTER, FINAL_CHECK_INTERVAL, REVERSAL_CHECK, UNFULFILLED
from keysat.mail.owe import owe_seen, owe_short
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, money_is_missing
from keysat.providers.base import InvoiceSnapshot, ProviderStatus
from keysat.providers.lightning import ReceivedPayments
from keysat.queue.outbox import EventType, emit_invoice
from keysat.settlement.check import Check
from keysat.settlement.decision import UNDER_WAY, gone
from keysat.settlement.outcome import Action, Outcome, SettlementRules
from keysat.settlement.reverse import reverse
from keysat.settlement.review import review_opened

_EVENTS = {
    Action.SETTLE: EventType.INVOICE_SETTLED,
    Action.EXPIRE: EventType.INVOICE_EXPIRED,
    Action.INVALIDATE: EventType.INVOICE_INVALID,
    Action.REVIEW: EventType.INVOICE_REVIEW_NEEDED,
}


@dataclass(frozen=True)
class ProviderResponse:
    """The provider's response. `payments` is None if they weren't read."""

    snapshot: InvoiceSnapshot
    payments: ReceivedPayments | None = None


def apply(
    session: Session, check: Check, response: ProviderResponse, outcome: Outcome, rules: SettlementRules, actor: str
) -> bool:
    """Write the outcome. Return False, and write nothing, if the invoice changed since it was read."""
    snapshot = response.snapshot
    if outcome.action is Action.REVERSE:
        return reverse(
            session, check.invoice_id, rules.reversal, f"the provider reports {snapshot.provider_status}", actor
        )
    values: dict[str, Any] = {
        "last_error": outcome.alarm,
        "error_count": 0,
        "acknowledged_at": None,
        **_changes(check, snapshot, outcome),
        **_received(check, response.payments),
    }
    changed = session.scalar(_compare_and_set(check, outcome).values(values).returning(Invoice.id))
    if changed is None:
        return False
    if outcome.unpaid:
        cancel(session, check.invoice_id, actor)
    _owe_mail(session, check, snapshot, outcome)
    if outcome.action is not Action.KEEP:
        _emit(session, check, outcome)
        paid = None if snapshot.paid is None else str(snapshot.paid)
        audit(
            session,
            actor,
            str(_EVENTS[outcome.action]),
            check.invoice_id,
            provider_says=snapshot.provider_status,
            exception=str(outcome.exception),
            paid=paid,
            review=outcome.review and str(outcome.review),
        )
    return True


def _emit(session: Session, check: Check, outcome: Outcome) -> None:
    """Emit one event for the new status, and another if the invoice also needs review now."""
    event_type = _EVENTS[outcome.action]
    emit_invoice(session, event_type, check.invoice_id)
    if outcome.review is not None and event_type is not EventType.INVOICE_REVIEW_NEEDED:
        emit_invoice(session, EventType.INVOICE_REVIEW_NEEDED, check.invoice_id)


def _owe_mail(session: Session, check: Check, snapshot: InvoiceSnapshot, outcome: Outcome) -> None:
    """Write the buyer's mail about a payment that is too low, or that was seen first and waits for its confirmation."""
    waits = check.status == InvoiceStatus.PENDING and snapshot.status in UNDER_WAY
    if money_is_missing(outcome.review, check.paid_of(snapshot), check.amount):
        owe_short(session, check.invoice_id)
    elif outcome.action is Action.KEEP and waits and snapshot.payment_seen and check.payment_seen_at is None:
        owe_seen(session, check.invoice_id)


def end_gone(session: Session, check: Check, actor: str) -> bool:
    """End the checks of an old invoice that the provider no longer has.

    They end on the second such response, at least a day after the first. If a payment was seen, the invoice goes to
    review. Return whether the checks ended.
    """
    if not check.is_last:
        if check.is_over and not check.final_noted:
            session.execute(_compare_and_set(check, Outcome(Action.KEEP)).values(final_check_at=func.now()))
        return False
    outcome = gone(check.known)
    changes: dict[str, Any] = {"next_check_at": None}
    if outcome.review is not None:
        changes |= review_opened(outcome.review)
    ended = session.scalar(_compare_and_set(check, outcome).values(changes).returning(Invoice.id))
    if ended is None:
        return False
    if outcome.unpaid:
        cancel(session, check.invoice_id, actor)
    if outcome.review is not None:
        _emit(session, check, outcome)
    why = "the provider doesn't know it any more"
    audit(session, actor, "invoice.gone", check.invoice_id, why=why, review=outcome.review and str(outcome.review))
    return True


def _compare_and_set(check: Check, outcome: Outcome) -> Update:
    same = (Invoice.status == check.status, Invoice.rest_paid == check.rest_paid)
    statement = update(Invoice).where(Invoice.id == check.invoice_id, *same)
    if outcome.review is not None:  # only one of two concurrent checks opens the review
        same_money = Invoice.paid_amount.is_not_distinct_from(check.paid_amount)
        statement = statement.where(Invoice.reviewed == check.reviewed, same_money)
    return statement


def _changes(check: Check, snapshot: InvoiceSnapshot, outcome: Outcome) -> dict[str, Any]:
    changes = _reported(check, snapshot) | _end_of_checks(check, snapshot)
    if outcome.action is Action.KEEP:
        return changes
    if check.status != InvoiceStatus.SETTLED:
        changes["exception"] = outcome.exception
    match outcome.action:
        case Action.SETTLE:
            changes |= {
                "status": InvoiceStatus.SETTLED,
                "reviewed": [],  # later problems open new reviews
                "settled_at": func.now(),
                # The caller sends issue_license at once. If that message is lost, the scan claims the invoice.
                "next_check_at": func.now() + UNFULFILLED,
                "final_check_at": None,
                "reversal_check_at": func.now() + REVERSAL_CHECK,
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
        changes |= review_opened(outcome.review)
        if check.status == InvoiceStatus.SETTLED:  # a license not issued yet waits for the review
            changes["next_check_at"] = None
    return changes


def _reported(check: Check, snapshot: InvoiceSnapshot) -> dict[str, Any]:
    """Return what the provider reports whatever the outcome is."""
    reported: dict[str, Any] = {}
    if check.status != InvoiceStatus.SETTLED:
        reported["paid_amount"] = check.paid_of(snapshot)
    if snapshot.payment_seen and check.payment_seen_at is None:
        reported["payment_seen_at"] = func.now()
    if snapshot.expires_at is not None:
        reported["expires_at"] = snapshot.expires_at
    return reported


def _received(check: Check, payments: ReceivedPayments | None) -> dict[str, Any]:
    """Return what the payments say. Who paid the first part of a purchase that a rest completed can't claim it."""
    if payments is None:
        return {}
    hashes = [] if check.rest_paid else list(payments.payment_hashes)
    return {"payment_hashes": hashes} | ({} if payments.last_at is None else {"paid_at": payments.last_at})


def _end_of_checks(check: Check, snapshot: InvoiceSnapshot) -> dict[str, Any]:
    """End the checks of an invoice that two checks a day apart found too old. The first one only records that.

    An unknown provider status doesn't end the checks.
    """
    if check.is_last and snapshot.status is not ProviderStatus.UNKNOWN:
        return {"next_check_at": None}
    if not check.is_over:
        return {} if check.next_check_at is None else {"final_check_at": None}
    if check.final_check_at is None or not check.final_noted:
        return {"final_check_at": func.now(), "next_check_at": func.now() + FINAL_AFTER}
    return {"next_check_at": func.greatest(check.final_check_at + FINAL_AFTER, func.now() + FINAL_CHECK_INTERVAL)}
