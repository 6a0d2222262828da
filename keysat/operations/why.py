"""Why a buyer has no license yet: the state of an invoice, its facts, and what a person can do about it.

`evaluate_invoice` names the state, and `sentence` puts it into words. Neither knows a command or a page: the command
line has a table of commands by state, a page may show a button for each remedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from keysat.core.hints import Hint
from keysat.core.money import Money, stored_money
from keysat.invoices.rest import waits_for_rest
from keysat.models import Invoice, License, ProviderAccount, ProviderEvent
from keysat.models.holders import license_of_invoice
from keysat.models.invoice_status import InvoiceStatus, ReviewReason
from keysat.models.license import LicenseStatus

_OVERDUE_AFTER = timedelta(seconds=60)


class State(StrEnum):
    """The state of an invoice, as a person would name it.

    - `reversed`, `settled_again`: the payment went back, and in the second case the provider calls it settled again.
    - `short`, `late`, `never_confirmed`, `other_currency`, `refunded`, `invalidated`, `in_review`: money arrived or
      went back, and a person decides.
    - `dismissed`: money arrived, and a person decided that no license follows from it.
    - `licensed`, `license_due`: it is paid. `credited`: it is paid, and is the rest of another invoice.
    - `excess`: it is paid, and the invoice whose rest it is needs it no more.
    - `never_made`: the provider made no invoice.
    - `account_rejected`, `account_paused`, `account_failing`: the provider isn't called.
    - `stuck`: the last check brought no usable response. `overdue`: a check didn't happen.
    - `part_paid`, `seen`, `unchecked`, `expired`, `invalid`, `waiting`: no payment is confirmed.
    """

    REVERSED = "reversed"
    SETTLED_AGAIN = "settled_again"
    SHORT = "short"
    LATE = "late"
    NEVER_CONFIRMED = "never_confirmed"
    OTHER_CURRENCY = "other_currency"
    REFUNDED = "refunded"
    INVALIDATED = "invalidated"
    IN_REVIEW = "in_review"
    EXCESS = "excess"
    DISMISSED = "dismissed"
    CREDITED = "credited"
    LICENSED = "licensed"
    LICENSE_DUE = "license_due"
    NEVER_MADE = "never_made"
    ACCOUNT_REJECTED = "account_rejected"
    ACCOUNT_PAUSED = "account_paused"
    ACCOUNT_FAILING = "account_failing"
    STUCK = "stuck"
    OVERDUE = "overdue"
    PART_PAID = "part_paid"
    SEEN = "seen"
    UNCHECKED = "unchecked"
    EXPIRED = "expired"
    INVALID = "invalid"
    WAITING = "waiting"


class Remedy(StrEnum):
    """What a person can do about a state."""

    SETTLE = "settle"
    DISMISS = "dismiss"
    RESTORE = "restore"
    RENEW_CREDENTIALS = "renew_credentials"
    RESUME_ACCOUNT = "resume_account"
    CHECK_PROCESSES = "check_processes"


_REVIEWS: dict[ReviewReason | None, State] = {
    ReviewReason.UNDERPAID: State.SHORT,
    ReviewReason.AMOUNT: State.SHORT,
    ReviewReason.LATE: State.LATE,
    ReviewReason.UNCONFIRMED: State.NEVER_CONFIRMED,
    ReviewReason.CURRENCY: State.OTHER_CURRENCY,
    ReviewReason.REFUNDED: State.REFUNDED,
    ReviewReason.INVALIDATED: State.INVALIDATED,
    ReviewReason.EXCESS: State.EXCESS,
}
_DECISIONS = dict.fromkeys([*_REVIEWS.values(), State.IN_REVIEW], (Remedy.SETTLE, Remedy.DISMISS))
REMEDIES: dict[State, tuple[Remedy, ...]] = {
    **_DECISIONS,
    State.REVERSED: (Remedy.RESTORE,),
    State.SETTLED_AGAIN: (Remedy.RESTORE, Remedy.DISMISS),
    State.ACCOUNT_REJECTED: (Remedy.RENEW_CREDENTIALS,),
    State.ACCOUNT_PAUSED: (Remedy.RESUME_ACCOUNT,),
    State.OVERDUE: (Remedy.CHECK_PROCESSES,),
}
HINTS: dict[State, Hint] = {
    **dict.fromkeys(_DECISIONS, Hint.SETTLE_OR_DISMISS_INVOICE),
    State.REVERSED: Hint.RESTORE_INVOICE,
    State.SETTLED_AGAIN: Hint.RESTORE_OR_DISMISS_INVOICE,
    State.ACCOUNT_REJECTED: Hint.RENEW_ACCOUNT,
    State.ACCOUNT_PAUSED: Hint.RESUME_ACCOUNT,
    State.OVERDUE: Hint.RUN_DOCTOR,
}


@dataclass(frozen=True)
class Why:
    """The state of an invoice and its facts.

    `cause` is why its account is paused or failing, why the last check failed, or why it is in review. `until` is when
    the account is called again. `next_check_at` is None if it is no longer checked. `unhandled` is the number of
    webhooks about it that aren't handled yet.
    """

    state: State
    invoice_id: UUID
    status: InvoiceStatus
    price: Money
    paid: Money
    license_id: UUID | None
    license_status: LicenseStatus | None
    account: str | None
    cause: str | None
    until: datetime | None
    next_check_at: datetime | None
    now: datetime
    unhandled: int = 0

    @property
    def short(self) -> Money:
        """What is missing of the price."""
        return stored_money(max(0, self.price.amount - self.paid.amount), self.price.currency)

    @property
    def over(self) -> Money | None:
        """What was paid beyond the price, or None."""
        extra = self.paid.amount - self.price.amount
        return stored_money(extra, self.price.currency) if self.price.amount and extra > 0 else None

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What a person can do about it."""
        return REMEDIES.get(self.state, ())

    @property
    def hint(self) -> Hint | None:
        """The next step that an entry point puts into its own words."""
        return HINTS.get(self.state)


def read_why(session: Session, invoice: Invoice) -> Why:
    """Evaluate a stored invoice."""
    account_id = invoice.provider_account_id
    account = None if account_id is None else session.get_one(ProviderAccount, account_id)
    row = license_of_invoice(session, invoice)
    now = session.scalars(select(func.now())).one()
    return evaluate_invoice(invoice, account, row, now, _unhandled_webhooks(session, invoice))


def evaluate_invoice(
    invoice: Invoice, account: ProviderAccount | None, row: License | None, now: datetime, unhandled: int = 0
) -> Why:
    """Name the state of an invoice, whose license is `row`. No I/O. `now` is the database's time."""
    state = _ended(invoice, row) or _held_up(invoice, account, now) or _waiting(invoice, now)
    return Why(
        state=state,
        invoice_id=invoice.id,
        status=invoice.status,
        price=stored_money(invoice.amount, invoice.currency),
        paid=stored_money((invoice.paid_amount or 0) + invoice.rest_paid, invoice.currency),
        license_id=None if row is None else row.id,
        license_status=None if row is None else row.status,
        account=None if account is None else account.name,
        cause=_cause(state, invoice, account),
        until=account.open_until if account and state is State.ACCOUNT_FAILING else None,
        next_check_at=invoice.next_check_at,
        now=now,
        unhandled=unhandled,
    )


def _unhandled_webhooks(session: Session, invoice: Invoice) -> int:
    about = or_(ProviderEvent.provider_invoice_id == invoice.provider_invoice_id, ProviderEvent.order_id == invoice.id)
    wanted = select(func.count()).select_from(ProviderEvent)
    of_account = ProviderEvent.provider_account_id == invoice.provider_account_id
    return session.scalar(wanted.where(of_account, about, ~ProviderEvent.handled)) or 0


def _ended(invoice: Invoice, row: License | None) -> State | None:
    if invoice.reversed:
        return State.SETTLED_AGAIN if invoice.in_review else State.REVERSED
    if invoice.credited is not None and not invoice.in_review:
        return State.CREDITED
    if invoice.in_review:
        if _completed_soon(invoice):
            return State.SEEN
        return _REVIEWS.get(invoice.review_reason, State.IN_REVIEW)
    if row is not None:
        return State.LICENSED
    if invoice.status == InvoiceStatus.SETTLED:
        return State.LICENSE_DUE
    if invoice.review_resolved_at is not None:
        return State.DISMISSED
    if invoice.is_draft and invoice.status != InvoiceStatus.PENDING:
        return State.NEVER_MADE
    return None


def _completed_soon(invoice: Invoice) -> bool:
    """Whether the rest of a short payment came in, and the next check settles the invoice if all of it is confirmed."""
    in_all = (invoice.paid_amount or 0) + invoice.rest_paid
    checked = waits_for_rest(invoice) and invoice.next_check_at is not None
    return checked and invoice.rest_paid > 0 and in_all >= invoice.amount


def _held_up(invoice: Invoice, account: ProviderAccount | None, now: datetime) -> State | None:
    if account is None:
        return None
    if account.paused:
        return State.ACCOUNT_REJECTED if account.rejected else State.ACCOUNT_PAUSED
    if account.breaker_open(now):
        return State.ACCOUNT_FAILING
    return None if invoice.last_error is None else State.STUCK


def _waiting(invoice: Invoice, now: datetime) -> State:
    due = invoice.next_check_at
    if due is not None and now - due > _OVERDUE_AFTER:
        return State.OVERDUE
    if invoice.payment_seen_at is not None:
        return State.PART_PAID if 0 < (invoice.paid_amount or 0) < invoice.amount else State.SEEN
    if invoice.last_checked_at is None and invoice.last_said is None:  # a check triggered by a webhook is no claim
        return State.UNCHECKED
    ends = {InvoiceStatus.EXPIRED: State.EXPIRED, InvoiceStatus.INVALID: State.INVALID}
    return ends.get(invoice.status, State.WAITING)


def _cause(state: State, invoice: Invoice, account: ProviderAccount | None) -> str | None:
    if account is not None and state in {State.ACCOUNT_PAUSED, State.ACCOUNT_REJECTED}:
        return account.pause_reason
    if account is not None and state is State.ACCOUNT_FAILING:
        return account.last_error
    if state is State.STUCK:
        return invoice.last_error
    return invoice.review_reason if invoice.in_review else None
