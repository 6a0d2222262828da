"""What must always be true, checked against the tables: each breach with its number, its oldest case, a hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, or_, select
from sqlalchemy.orm import Session

from keysat.core.hints import Hint
from keysat.mail.manage import dead_mails, overdue_mails
from keysat.models import (
    DiscountCode,
    Invoice,
    License,
    ProviderAccount,
    ProviderEvent,
    Redemption,
    TaskRun,
    Tip,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.discount_code import HELD
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.models.tip import TipStatus

SOON = timedelta(minutes=2)
STUCK = timedelta(minutes=5)
Cases = Select[Any, Any]


@dataclass(frozen=True)
class Breach:
    """A broken invariant: the number of cases, and the oldest one. Its text is a sentence."""

    invariant: str
    count: int
    oldest_id: UUID | str
    oldest_at: datetime
    sentence: str
    hint: Hint
    facts: Mapping[str, object]

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class _Invariant:
    """`cases` selects id and time of the rows that break it. `sentence` has places for {count}, {id} and {at}.

    `subject` is the fact that the hint takes the id as.
    """

    name: str
    cases: Callable[[timedelta], Cases]
    sentence: str
    hint: Hint
    subject: str | None = None


def broken(session: Session, scan_seconds: float) -> list[Breach]:
    """Return the invariants that are broken now. `scan_seconds` is the interval of the scan."""
    breaches = []
    for invariant in INVARIANTS:
        cases = invariant.cases(timedelta(seconds=scan_seconds)).subquery()
        first = select(func.count().over(), cases.c[0], cases.c[1]).order_by(cases.c[1]).limit(1)
        row = session.execute(first).one_or_none()
        if row is not None:
            count, oldest_id, at = row
            sentence = invariant.sentence.format(count=count, id=oldest_id, at=f"{at:%Y-%m-%d %H:%M:%S} UTC")
            facts = {} if invariant.subject is None else {invariant.subject: oldest_id}
            breaches.append(Breach(invariant.name, count, oldest_id, at, sentence, invariant.hint, facts))
    return breaches


def _callable(account_id: Any) -> Any:
    return account_id.not_in(select(ProviderAccount.id).where(ProviderAccount.resting(func.now())))


def _unlicensed(_: timedelta) -> Cases:
    return select(Invoice.id, Invoice.settled_at).where(Invoice.settled_at < func.now() - SOON, Invoice.license_due)


def _unpaid(_: timedelta) -> Cases:
    return (
        select(License.id, License.issued_at)
        .join(Invoice, Invoice.id == License.invoice_id)
        .where(Invoice.status != InvoiceStatus.SETTLED)
    )


def _miscounted(_: timedelta) -> Cases:
    held = (
        select(func.count())
        .where(
            Redemption.code_id == DiscountCode.id,
            Redemption.status.in_(HELD),
        )
        .scalar_subquery()
    )
    return select(DiscountCode.code, DiscountCode.created_at).where(DiscountCode.uses != held)


def _unclaimed(_: timedelta) -> Cases:
    unsettled = Invoice.status != InvoiceStatus.SETTLED
    return select(Invoice.id, Invoice.next_check_at).where(
        Invoice.next_check_at < func.now() - SOON, unsettled, _callable(Invoice.provider_account_id)
    )


def _unhandled(_: timedelta) -> Cases:
    return select(ProviderEvent.id, ProviderEvent.next_attempt_at).where(
        ProviderEvent.next_attempt_at < func.now() - STUCK, _callable(ProviderEvent.provider_account_id)
    )


def _undelivered(_: timedelta) -> Cases:
    return (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.next_attempt_at < func.now() - STUCK, WebhookEndpoint.active)
    )


def _unpaid_tips(_: timedelta) -> Cases:
    return select(Tip.id, Tip.next_attempt_at).where(
        Tip.next_attempt_at < func.now() - STUCK, _callable(Tip.provider_account_id)
    )


def _unknown_tips(_: timedelta) -> Cases:
    over = Tip.payable_until < func.now() - timedelta(hours=1)
    return select(Tip.id, Tip.paying_since).where(Tip.status == TipStatus.PAYING, over)


def _unscanned(scan: timedelta) -> Cases:
    ran = select(TaskRun.last_run_at).where(TaskRun.name == "scan_pending").scalar_subquery()
    since = func.coalesce(ran, select(func.min(Invoice.created_at)).scalar_subquery())
    # A run in the future was recorded by a wrong clock, so it doesn't prove that scans run.
    overdue = or_(since < func.now() - max(SOON, 4 * scan), since > func.now() + SOON)
    return select(literal("scan_pending").label("id"), since.label("at")).where(overdue)


def _resting(_: timedelta) -> Cases:
    since = func.coalesce(ProviderAccount.paused_at, func.now())
    return select(ProviderAccount.name, since).where(ProviderAccount.resting(func.now()))


def _creates_failing(_: timedelta) -> Cases:
    failing = or_(
        ProviderAccount.create_breaker_open(func.now()), ProviderAccount.create_failure_count >= FAILURES_TO_OPEN
    )
    return select(ProviderAccount.name, func.now()).where(failing)


INVARIANTS = (
    _Invariant(
        "account_resting",
        _resting,
        "{count} provider accounts aren't called, one of them {id}.",
        Hint.TEST_ACCOUNT,
        "account",
    ),
    _Invariant(
        "creates_failing",
        _creates_failing,
        "{count} provider accounts make no invoices, so no purchase is possible, one of them {id}.",
        Hint.SHOW_ACCOUNT_ERRORS,
    ),
    _Invariant(
        "settled_without_license",
        _unlicensed,
        "{count} invoices are paid and have no license, the oldest {id} since {at}: the worker's log has the reason.",
        Hint.RECONCILE_INVOICE,
        "invoice_id",
    ),
    _Invariant(
        "license_without_payment",
        _unpaid,
        "{count} licenses have an invoice that isn't settled, the oldest {id} since {at}.",
        Hint.SHOW_LICENSE,
        "license_id",
    ),
    _Invariant(
        "code_counter",
        _miscounted,
        "{count} codes count other slots than they gave out, one of them {id}.",
        Hint.RECOUNT_CODE,
        "code",
    ),
    _Invariant(
        "due_but_unclaimed",
        _unclaimed,
        "{count} invoices are late, the oldest {id} due since {at}: do worker and beat run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "event_stuck",
        _unhandled,
        "{count} webhooks of providers aren't handled, the oldest since {at}: do worker and beat run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "delivery_stuck",
        _undelivered,
        "{count} outbound webhooks are due and aren't sent, the oldest {id} since {at}: does the worker of "
        "queue deliver run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "mail_overdue",
        lambda _: overdue_mails(),
        "{count} mails wait for too long, the oldest {id} since {at}: do the mail server and the worker respond?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "mail_dead",
        lambda _: dead_mails(),
        "{count} mails failed for good and their buyers got nothing, the oldest {id} since {at}.",
        Hint.LIST_DEAD_MAILS,
    ),
    _Invariant(
        "tip_stuck",
        _unpaid_tips,
        "{count} tips are due and aren't paid, the oldest {id} since {at}: does the worker of queue tips run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "tip_unknown",
        _unknown_tips,
        "{count} tips may have been paid, and the provider doesn't say so, the oldest {id} since {at}: find its "
        "payment hash at the node.",
        Hint.FIND_TIP_PAYMENT,
        "tip_id",
    ),
    _Invariant(
        "scan_not_run",
        _unscanned,
        "no scan ran since {at}: do beat and a worker of queue scan run?",
        Hint.RUN_DOCTOR,
    ),
)
