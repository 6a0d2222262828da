"""What must always be true, checked against the tables: each breach with its number, its oldest case, a hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core.hints import Hint
from keysat.mail.manage import dead_mails, overdue_mails
from keysat.operations import cases
from keysat.operations.cases import Cases


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
        found = invariant.cases(timedelta(seconds=scan_seconds)).subquery()
        first = select(func.count().over(), found.c[0], found.c[1]).order_by(found.c[1]).limit(1)
        row = session.execute(first).one_or_none()
        if row is not None:
            count, oldest_id, at = row
            sentence = invariant.sentence.format(count=count, id=oldest_id, at=f"{at:%Y-%m-%d %H:%M:%S} UTC")
            facts = {} if invariant.subject is None else {invariant.subject: oldest_id}
            breaches.append(Breach(invariant.name, count, oldest_id, at, sentence, invariant.hint, facts))
    return breaches


INVARIANTS = (
    _Invariant(
        "account_resting",
        cases.resting_accounts,
        "{count} provider accounts aren't called, one of them {id}.",
        Hint.TEST_ACCOUNT,
        "account",
    ),
    _Invariant(
        "creates_failing",
        cases.failing_creates,
        "{count} provider accounts make no invoices, so no purchase is possible, one of them {id}.",
        Hint.SHOW_ACCOUNT_ERRORS,
    ),
    _Invariant(
        "settled_without_license",
        cases.unlicensed_invoices,
        "{count} invoices are paid and have no license, the oldest {id} since {at}: the worker's log has the reason.",
        Hint.RECONCILE_INVOICE,
        "invoice_id",
    ),
    _Invariant(
        "license_without_payment",
        cases.unpaid_licenses,
        "{count} licenses have an invoice that isn't settled, the oldest {id} since {at}.",
        Hint.SHOW_LICENSE,
        "license_id",
    ),
    _Invariant(
        "extension_without_payment",
        cases.unpaid_extensions,
        "{count} licenses were extended by a renewal that isn't paid, the oldest {id} since {at}.",
        Hint.SHOW_LICENSE,
        "license_id",
    ),
    _Invariant(
        "notice_overdue",
        cases.overdue_notices,
        "{count} licenses are due for a notice of their end, the oldest {id} since {at}: does beat send "
        "keysat.scan_subscriptions?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "code_counter",
        cases.miscounted_codes,
        "{count} codes count other slots than they gave out, one of them {id}.",
        Hint.RECOUNT_CODE,
        "code",
    ),
    _Invariant(
        "due_but_unclaimed",
        cases.unclaimed_invoices,
        "{count} invoices are late, the oldest {id} due since {at}: do worker and beat run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "event_stuck",
        cases.unhandled_events,
        "{count} webhooks of providers aren't handled, the oldest since {at}: do worker and beat run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "delivery_stuck",
        cases.undelivered_webhooks,
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
        cases.waiting_tips,
        "{count} tips are due and aren't paid, the oldest {id} since {at}: does the worker of queue tips run?",
        Hint.RUN_DOCTOR,
    ),
    _Invariant(
        "tip_unknown",
        cases.unknown_tips,
        "{count} tips may have been paid, and the provider doesn't say so, the oldest {id} since {at}: find its "
        "payment hash at the node.",
        Hint.FIND_TIP_PAYMENT,
        "tip_id",
    ),
    _Invariant(
        "scan_not_run",
        cases.missing_scans,
        "no scan ran since {at}: do beat and a worker of queue scan run?",
        Hint.RUN_DOCTOR,
    ),
)
