"""Reconcile one invoice: read, query, decide, write. No transaction is open during provider calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.accounts import breaker
from keysat.accounts.failures import note_failure
from keysat.accounts.recheck import rejection
from keysat.codes.reserve import cancel
from keysat.core import metrics
from keysat.core.db import Database
from keysat.core.errors import CallFailed, CredentialsRejected, RemoteNotFound
from keysat.core.logs import get_logger
from keysat.invoices import draft
from keysat.models import Invoice
from keysat.models.invoice_status import InvoiceStatus, PaymentException
from keysat.providers.base import InvoiceSnapshot, ProviderStatus
from keysat.providers.registry import adapter_of, provider_for
from keysat.settlement.apply import ProviderResponse, apply, end_gone
from keysat.settlement.check import Check, load, record_reading
from keysat.settlement.decision import decide
from keysat.settlement.failed_check import AccountNotCallable
from keysat.settlement.outcome import Action, Outcome, SettlementRules
from keysat.settlement.query import query, received

_LOGGED = {
    Action.KEEP: "invoice checked",
    Action.SETTLE: "invoice settled",
    Action.EXPIRE: "invoice expired",
    Action.INVALIDATE: "invoice invalid",
    Action.REVIEW: "invoice in review",
    Action.REVERSE: "invoice reversed",
}

log = get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """The result of a check. `license_due` is set if the invoice is settled and its license is not issued yet.

    `asked_at` is the database time before the provider was called. The response is not older.
    """

    invoice_id: UUID
    outcome: Outcome
    provider_status: str
    license_due: bool
    asked_at: datetime


def reconcile(
    database: Database,
    invoice_id: UUID,
    rules: SettlementRules,
    actor: str,
    *,
    force: bool = False,
    named: str | None = None,
) -> Result:
    """Query the provider about an invoice and act on the response. Safe to repeat, reorder and run concurrently.

    A check without news writes nothing. `force` is a person's request and ignores an open circuit breaker. `named` is
    the provider's id in a webhook, for providers that can't find an invoice by our id.

    Raises:
        NotFound: no such invoice.
        AccountNotCallable: the provider was not called.
        CallFailed: no usable response. It is recorded, and the invoice is unchanged.
    """
    with database.reading() as session:
        check = load(session, invoice_id)
    _require_callable(check, force=force)
    try:
        snapshot = query(database, check, named)
    except CallFailed as error:
        if _record_failure(database, check, error, actor):
            return Result(invoice_id, Outcome(Action.KEEP), "that it is gone", check.license_due, check.now)
        raise
    if snapshot is None:
        return _never_made(database, check, actor, asked=provider_for(check).finds_by_order or named is not None)
    result = _decide_and_write(database, check, snapshot, rules, actor)
    if result is None:  # the invoice was paid in between, so this response no longer decides
        return reconcile(database, invoice_id, rules, actor, force=force, named=named)
    return result


def _require_callable(check: Check, *, force: bool) -> None:
    """Raise `AccountNotCallable` if the account is paused, or if its circuit breaker is open and `force` isn't set."""
    if check.not_callable and not (force and check.pause_reason is None):
        log.debug("account not callable", **check.ids, reason=check.not_callable)
        raise AccountNotCallable(check.name, check.not_callable, paused=check.pause_reason is not None)


def _decide_and_write(
    database: Database, check: Check, snapshot: InvoiceSnapshot, rules: SettlementRules, actor: str
) -> Result | None:
    """Decide about a snapshot and write the outcome. Return None if a concurrent settlement superseded it."""
    outcome = decide(check.known, snapshot, rules)
    metrics.reconciles.labels(outcome.action).inc()
    if outcome.alarm:
        log.warning("unexpected provider status", **check.ids, alarm=outcome.alarm)
    paid = received(check, snapshot) if _payments_wanted(check, snapshot, outcome) else None
    if outcome.action is Action.KEEP and paid is None and not _news(check, snapshot, outcome):
        log.debug("no news", **check.ids, provider_status=snapshot.provider_status)
        return Result(check.invoice_id, outcome, snapshot.provider_status, check.license_due, check.now)
    with database.transaction() as session:
        applied, superseded = _write(session, check, ProviderResponse(snapshot, paid), outcome, rules, actor)
    _log_written(check, snapshot, outcome, applied=applied)
    if superseded:
        return None
    settled = outcome.action is Action.SETTLE or (outcome.action is Action.KEEP and check.license_due)
    return Result(check.invoice_id, outcome, snapshot.provider_status, applied and settled, check.now)


def _write(
    session: Session, check: Check, response: ProviderResponse, outcome: Outcome, rules: SettlementRules, actor: str
) -> tuple[bool, bool]:
    """Write the outcome by compare-and-set.

    Return whether it was written, and whether an invalid or review outcome was superseded by a concurrent settlement.
    """
    if check.failure_count:
        breaker.record_success(session, check.account_id)
    applied = apply(session, check, response, outcome, rules, actor)  # a reversal locks other invoices before this one
    record_reading(session, check.invoice_id, actor, response.snapshot.provider_status, outcome.action)
    if not applied and outcome.action is Action.SETTLE:
        _check_again_at_once(session, check.invoice_id)
    bad_news = outcome.action in {Action.INVALIDATE, Action.REVIEW}
    return applied, bad_news and not applied and _settled_meanwhile(session, check)


def _log_written(check: Check, snapshot: InvoiceSnapshot, outcome: Outcome, *, applied: bool) -> None:
    """Log what was written, once it is committed. An outcome that came too late changed nothing."""
    facts: dict[str, str] = {**check.ids, "provider_status": snapshot.provider_status}
    if not applied:
        log.debug("superseded", **facts, outcome=outcome.action)
    elif outcome.action is Action.KEEP:
        log.debug(_LOGGED[outcome.action], **facts)
    else:
        log.info(_LOGGED[outcome.action], **facts, review=outcome.review)


def _check_again_at_once(session: Session, invoice_id: UUID) -> None:
    """Schedule a check now: the provider reported settled, but the invoice changed, and not to settled."""
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status != InvoiceStatus.SETTLED)
        .values(next_check_at=func.now())
    )


def _settled_meanwhile(session: Session, check: Check) -> bool:
    """Whether another check settled the invoice since this one. Settled is final, so this is true at most once."""
    status = session.scalar(select(Invoice.status).where(Invoice.id == check.invoice_id))
    return status == InvoiceStatus.SETTLED != check.status


def _payments_wanted(check: Check, snapshot: InvoiceSnapshot, outcome: Outcome) -> bool:
    """Whether the payments have to be read: it settles now, or it is paid and no check has read them."""
    if outcome.action is not Action.KEEP or check.status != InvoiceStatus.SETTLED:
        return outcome.action is Action.SETTLE
    if check.payments_read or not adapter_of(check.kind).proves_payments:
        return False
    return snapshot.status is ProviderStatus.SETTLED or snapshot.exception is PaymentException.LATE


def _news(check: Check, snapshot: InvoiceSnapshot, outcome: Outcome) -> bool:
    """Whether a check that keeps the status still has something to write.

    That is a new provider status, amount or expiry, a step towards the end of checks, a changed alarm, or a recovery.
    """
    paid_more = check.status != InvoiceStatus.SETTLED and (check.paid_of(snapshot) or 0) != (check.paid_amount or 0)
    changed = snapshot.provider_status != check.last_said or (snapshot.payment_seen and check.payment_seen_at is None)
    changed = changed or snapshot.expires_at not in {None, check.expires_at}
    ends = check.is_over or (check.final_check_at is not None and check.next_check_at is not None)
    return changed or paid_more or ends or check.last_error != outcome.alarm or check.failure_count > 0


def _record_failure(database: Database, check: Check, error: CallFailed, actor: str) -> bool:
    """Record a failed call for the account. Return whether it ended the checks of an invoice that is gone."""
    log.warning("check failed", **check.ids, error=str(error))
    rejected = rejection(provider_for(check), error) if isinstance(error, CredentialsRejected) else None
    with database.transaction() as session:
        note_failure(session, check, error, actor, rejected=rejected, invoice_id=check.invoice_id)
        ended = isinstance(error, RemoteNotFound) and end_gone(session, check, actor)
    if ended:
        log.info("invoice gone", **check.ids)
    return ended


def _never_made(database: Database, check: Check, actor: str, *, asked: bool) -> Result:
    """The provider has no invoice for a draft. Its purchase is still running, or its process died."""
    with database.transaction() as session:
        if asked and check.failure_count:
            breaker.record_success(session, check.account_id)
        closed = check.age > draft.DRAFT_LIFE and draft.close_unasked(session, check.invoice_id, actor)
        if closed:
            cancel(session, check.invoice_id, actor)
    if closed:
        log.info("draft closed", **check.ids)
    else:
        log.debug("draft not found", **check.ids, asked=asked)
    outcome = Outcome(Action.INVALIDATE if closed else Action.KEEP)
    provider_status = "that it has no such invoice" if asked else "nothing, since it finds no invoice by our id"
    return Result(check.invoice_id, outcome, provider_status, license_due=False, asked_at=check.now)
