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
from keysat.core.db import Begin
from keysat.core.errors import (
    CallFailed,
    CredentialsRejected,
    KeysatError,
    RemoteNotFound,
)
from keysat.core.hints import Hint
from keysat.core.logs import get_logger
from keysat.core.settings import Settings
from keysat.invoices import draft
from keysat.models import Invoice, ProviderAccount
from keysat.models.columns import seconds
from keysat.models.invoice import InvoiceStatus
from keysat.providers.base import InvoiceSnapshot
from keysat.providers.registry import provider_for
from keysat.settlement.apply import ProviderResponse, apply, end_gone
from keysat.settlement.decision import decide
from keysat.settlement.look import Look, load, record_reading
from keysat.settlement.outcome import Action, Outcome, SettlementRules
from keysat.settlement.query import paid_at, query

_ERROR_BACKOFF_SECONDS = 30
_MOST_DOUBLINGS = 9

log = get_logger(__name__)


class AccountNotCallable(KeysatError):
    """The provider account is paused or its circuit breaker is open. The provider was not called."""

    def __init__(self, account: str, why: str, *, paused: bool = False) -> None:
        hint = Hint.RESUME_ACCOUNT if paused else None
        super().__init__(f"provider account {account} {why}; the invoice waits.", hint, account=account)


@dataclass(frozen=True)
class Result:
    """The result of a check. `license_owed` is set if the invoice is settled and its license is not issued yet.

    `asked_at` is the database time before the provider was called. The response is not older.
    """

    invoice_id: UUID
    outcome: Outcome
    said: str
    license_owed: bool
    asked_at: datetime


def rules_of(settings: Settings) -> SettlementRules:
    """Return the settlement rules from the settings."""
    return SettlementRules(settings.late_payment, settings.reversal, settings.payment_tolerance_bps)


def reconcile(
    read: Begin,
    begin: Begin,
    invoice_id: UUID,
    rules: SettlementRules,
    actor: str,
    *,
    insist: bool = False,
    named: str | None = None,
) -> Result:
    """Query the provider about an invoice and act on the response. Safe to repeat, reorder and run concurrently.

    A check without news writes nothing. `insist` is a person's request and ignores an open circuit breaker. `named` is
    the provider's id in a webhook, for providers that can't find an invoice by our id.

    Raises:
        NotFound: no such invoice.
        AccountNotCallable: the provider was not called.
        CallFailed: no usable response. It is recorded, and the invoice is unchanged.
    """
    with read() as session:
        look = load(session, invoice_id)
    if look.not_callable and not (insist and look.pause_reason is None):
        raise AccountNotCallable(look.name, look.not_callable, paused=look.pause_reason is not None)
    try:
        snapshot = query(begin, look, named)
    except CallFailed as error:
        if _record_failure(begin, look, error, actor):
            return Result(invoice_id, Outcome(Action.KEEP), "that it is gone", look.license_due, look.now)
        raise
    if snapshot is None:
        return _never_made(begin, look, actor, asked=provider_for(look).finds_by_order or named is not None)
    outcome = decide(look.known, snapshot, rules)
    metrics.reconciles.labels(outcome.action).inc()
    if outcome.alarm:
        log.warning("unexpected provider status", alarm=outcome.alarm, invoice_id=str(invoice_id))
    if outcome.action is Action.KEEP and not _news(look, snapshot, outcome):
        return Result(invoice_id, outcome, snapshot.said, look.license_due, look.now)
    paid = paid_at(look, snapshot) if outcome.action is Action.SETTLE else None
    with begin() as session:
        applied, overtaken = _write(session, look, ProviderResponse(snapshot, paid), outcome, rules, actor)
    if overtaken:  # the invoice was paid in between, so this response no longer decides
        return reconcile(read, begin, invoice_id, rules, actor, insist=insist, named=named)
    settled = outcome.action is Action.SETTLE or (outcome.action is Action.KEEP and look.license_due)
    return Result(invoice_id, outcome, snapshot.said, applied and settled, look.now)


def _record_failure(begin: Begin, look: Look, error: CallFailed, actor: str) -> bool:
    """Record a failed call for the account. Return whether it ended the checks of an invoice that is gone."""
    log.warning("no usable response", invoice_id=str(look.invoice_id), account=look.name, error=str(error))
    rejected = rejection(provider_for(look), error) if isinstance(error, CredentialsRejected) else None
    with begin() as session:
        note_failure(session, look, error, actor, rejected=rejected, invoice_id=look.invoice_id)
        return isinstance(error, RemoteNotFound) and end_gone(session, look, actor)


def give_up(session: Session, invoice_id: UUID, error: KeysatError) -> None:
    """Record the error after failed attempts and schedule the next check, with exponential backoff.

    The regular schedule of an old invoice may be hours. A short provider outage must not delay a buyer that long. If
    the account can't be called now, the next check is when it can.
    """
    callable_at = (
        select(func.greatest(ProviderAccount.open_until, func.now()))
        .where(ProviderAccount.id == Invoice.provider_account_id)
        .scalar_subquery()
    )
    asked = not isinstance(error, AccountNotCallable)
    if asked:
        record_reading(session, invoice_id, "reconcile", str(error), "none")
    doublings = func.power(2, func.least(Invoice.error_count, _MOST_DOUBLINGS))
    # LEAST and GREATEST ignore NULL.
    soon = func.least(Invoice.next_check_at, func.now() + seconds(_ERROR_BACKOFF_SECONDS * doublings))
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status != InvoiceStatus.SETTLED)
        .values(
            last_error=str(error),
            error_count=Invoice.error_count + (1 if asked else 0),
            next_check_at=func.greatest(callable_at, soon) if asked else callable_at,
        )
    )


def _write(
    session: Session, look: Look, answer: ProviderResponse, outcome: Outcome, rules: SettlementRules, actor: str
) -> tuple[bool, bool]:
    """Write the outcome by compare-and-set.

    Return whether it was written, and whether an invalid or review outcome was superseded by a concurrent settlement.
    """
    if look.failure_count:
        breaker.record_success(session, look.account_id)
    record_reading(session, look.invoice_id, actor, answer.snapshot.said, outcome.action)
    applied = apply(session, look, answer, outcome, rules, actor)
    if not applied and outcome.action is Action.SETTLE:
        _check_again_at_once(session, look.invoice_id)
    bad_news = outcome.action in {Action.INVALIDATE, Action.REVIEW}
    return applied, bad_news and not applied and _settled_meanwhile(session, look)


def _check_again_at_once(session: Session, invoice_id: UUID) -> None:
    """Schedule a check now: the provider reported settled, but the invoice changed, and not to settled."""
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status != InvoiceStatus.SETTLED)
        .values(next_check_at=func.now())
    )


def _settled_meanwhile(session: Session, look: Look) -> bool:
    """Whether another check settled the invoice since this one. Settled is final, so this is true at most once."""
    status = session.scalar(select(Invoice.status).where(Invoice.id == look.invoice_id))
    return status == InvoiceStatus.SETTLED != look.status


def _news(look: Look, snapshot: InvoiceSnapshot, outcome: Outcome) -> bool:
    """Whether a check that keeps the status still has something to write.

    That is a new provider status, a new amount, a step towards the end of checks, a changed alarm, or a recovery.
    """
    paid_more = look.status != InvoiceStatus.SETTLED and (look.paid_of(snapshot) or 0) != (look.paid_amount or 0)
    changed = snapshot.said != look.last_said or (snapshot.payment_seen and look.payment_seen_at is None)
    ends = look.is_over or (look.final_check_at is not None and look.next_check_at is not None)
    return changed or paid_more or ends or look.last_error != outcome.alarm or look.failure_count > 0


def _never_made(begin: Begin, look: Look, actor: str, *, asked: bool) -> Result:
    """The provider has no invoice for a draft. Its purchase is still running, or its process died."""
    with begin() as session:
        if asked and look.failure_count:
            breaker.record_success(session, look.account_id)
        closed = look.age > draft.DRAFT_LIFE and draft.close_unasked(session, look.invoice_id, actor)
        if closed:
            cancel(session, look.invoice_id, actor)
    outcome = Outcome(Action.INVALIDATE if closed else Action.KEEP)
    said = "that it has no such invoice" if asked else "nothing, since it finds no invoice by our id"
    return Result(look.invoice_id, outcome, said, license_owed=False, asked_at=look.now)
