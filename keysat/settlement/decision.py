"""What to do about an invoice, given what we know and what the provider says. Pure: a table and the amounts.

Status never goes backwards, and an unknown answer changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Literal

from keysat.models.invoice import InvoiceStatus, PaymentException, ReviewReason
from keysat.money import Money
from keysat.providers.base import InvoiceSnapshot, ProviderStatus


@dataclass(frozen=True)
class Known:
    """What our row says.

    `reviewed` holds the reasons it was ever in review for: each is raised once. `by_hand`: a person settled it.
    `last`: it is so old that nobody looks again after this.
    """

    status: InvoiceStatus
    price: Money
    reviewed: frozenset[str] = frozenset()
    reversed: bool = False
    by_hand: bool = False
    last: bool = False


@dataclass(frozen=True)
class Rules:
    """The operator's choices; the tolerance is in hundredths of a percent of the price."""

    late_payment: Literal["issue", "review"] = "issue"
    reversal: Literal["suspend", "revoke", "review"] = "suspend"
    tolerance_bps: int = 0


class Action(StrEnum):
    """What can be done about an invoice."""

    KEEP = "keep"
    SETTLE = "settle"
    EXPIRE = "expire"
    INVALIDATE = "invalidate"
    REVIEW = "review"
    REVERSE = "reverse"


@dataclass(frozen=True)
class Outcome:
    """The decision. `review` may come with `EXPIRE`; `alarm` is a sentence for the log, where something is odd."""

    action: Action
    exception: PaymentException = PaymentException.NONE
    review: ReviewReason | None = None
    alarm: str | None = None


class Says(Enum):
    """The columns of the table: what a snapshot amounts to."""

    OPEN = auto()
    SETTLED = auto()
    EXPIRED = auto()
    PAID_LATE = auto()
    UNDERPAID = auto()
    INVALID = auto()
    REFUNDED = auto()
    UNKNOWN = auto()


class _Verdict(Enum):
    KEEP = auto()
    ALARM = auto()
    SETTLE = auto()
    LATE = auto()
    EXPIRE = auto()
    EXPIRE_UNDERPAID = auto()
    INVALIDATE = auto()
    REVIEW = auto()
    REVERSE = auto()


_V = _Verdict
_ORDER = tuple(Says)
# Columns: open, settled, expired, paid late, underpaid, invalid, refunded, unknown.
_TABLE = {
    InvoiceStatus.PENDING: (
        _V.KEEP, _V.SETTLE, _V.EXPIRE, _V.LATE, _V.EXPIRE_UNDERPAID, _V.INVALIDATE, _V.REVIEW, _V.KEEP,
    ),
    InvoiceStatus.EXPIRED: (
        _V.KEEP, _V.SETTLE, _V.KEEP, _V.LATE, _V.REVIEW, _V.INVALIDATE, _V.REVIEW, _V.KEEP,
    ),
    InvoiceStatus.INVALID: (
        _V.KEEP, _V.SETTLE, _V.KEEP, _V.REVIEW, _V.REVIEW, _V.KEEP, _V.KEEP, _V.KEEP,
    ),
    InvoiceStatus.SETTLED: (
        _V.ALARM, _V.KEEP, _V.ALARM, _V.KEEP, _V.ALARM, _V.REVERSE, _V.REVERSE, _V.KEEP,
    ),
}  # fmt: skip
_REVIEWS = {
    Says.PAID_LATE: ReviewReason.LATE,
    Says.UNDERPAID: ReviewReason.UNDERPAID,
    Says.REFUNDED: ReviewReason.REFUNDED,
    Says.INVALID: ReviewReason.INVALIDATED,
}
_KEEP = Outcome(Action.KEEP)


def decide(known: Known, snapshot: InvoiceSnapshot, rules: Rules) -> Outcome:
    """Name the outcome of one look at the provider."""
    says = read(snapshot)
    match _TABLE[known.status][_ORDER.index(says)]:
        case _V.SETTLE:
            return _settle(known, snapshot, rules)
        case _V.LATE:
            return _settle_late(known, snapshot, rules)
        case _V.EXPIRE:
            return Outcome(Action.EXPIRE)
        case _V.EXPIRE_UNDERPAID:
            return Outcome(Action.EXPIRE, PaymentException.PARTIAL, ReviewReason.UNDERPAID)
        case _V.INVALIDATE:
            return Outcome(Action.INVALIDATE)
        case _V.REVIEW:
            return _review(known, snapshot.exception, _REVIEWS[says])
        case _V.REVERSE:
            return _reverse(known, snapshot, rules, _REVIEWS[says])
        case _V.ALARM:
            return _alarm(snapshot)
        case _V.KEEP:
            return _unknown(snapshot) if says is Says.UNKNOWN else _keep(known, snapshot)


def read(snapshot: InvoiceSnapshot) -> Says:
    """Which column of the table a snapshot belongs to."""
    match snapshot.status, snapshot.exception:
        case ((ProviderStatus.PENDING | ProviderStatus.PROCESSING), _):
            return Says.OPEN
        case ProviderStatus.EXPIRED, (PaymentException.LATE | PaymentException.OVER):
            return Says.PAID_LATE
        case ProviderStatus.EXPIRED, PaymentException.PARTIAL:
            return Says.UNDERPAID
        case ProviderStatus.EXPIRED, PaymentException.NONE:
            return Says.EXPIRED
        case ProviderStatus.SETTLED, _:
            return Says.SETTLED
        case ProviderStatus.INVALID, _:
            return Says.INVALID
        case ProviderStatus.REFUNDED, _:
            return Says.REFUNDED
        case _:
            return Says.UNKNOWN


def _keep(known: Known, snapshot: InvoiceSnapshot) -> Outcome:
    """Keep; but what came in of an invoice that is looked at no more, as an order that stays underpaid, is reviewed."""
    came_in = snapshot.paid is not None and snapshot.paid.amount > 0
    if known.last and came_in and known.status is not InvoiceStatus.SETTLED:
        return _review(known, PaymentException.PARTIAL, ReviewReason.UNDERPAID)
    return _KEEP


def _unknown(snapshot: InvoiceSnapshot) -> Outcome:
    return Outcome(Action.KEEP, alarm=f"the provider's status {snapshot.said} is not known to this version")


def _settle(known: Known, snapshot: InvoiceSnapshot, rules: Rules) -> Outcome:
    """Settle, unless the money is not what we asked for. What a merchant marked by hand is the merchant's word."""
    received = snapshot.charged if snapshot.paid is None else snapshot.paid
    for told in (snapshot.charged, snapshot.paid):
        if told is not None and told.currency != known.price.currency:
            return _review(known, snapshot.exception, ReviewReason.CURRENCY)
    if snapshot.exception is PaymentException.MARKED:
        return Outcome(Action.SETTLE, PaymentException.MARKED)
    if received is None or received.amount < known.price.less_basis_points(rules.tolerance_bps):
        return _review(known, snapshot.exception, ReviewReason.AMOUNT)
    if received.amount > known.price.amount:
        return Outcome(Action.SETTLE, PaymentException.OVER)
    late = known.status is InvoiceStatus.EXPIRED or snapshot.exception is PaymentException.LATE
    return Outcome(Action.SETTLE, PaymentException.LATE if late else PaymentException.NONE)


def _settle_late(known: Known, snapshot: InvoiceSnapshot, rules: Rules) -> Outcome:
    outcome = _settle(known, snapshot, rules)
    if rules.late_payment == "review" and outcome.action is Action.SETTLE:
        return _review(known, PaymentException.LATE, ReviewReason.LATE)
    return outcome


def _alarm(snapshot: InvoiceSnapshot) -> Outcome:
    return Outcome(Action.KEEP, alarm=f"the invoice is settled here, but {snapshot.said} at the provider")


def _reverse(known: Known, snapshot: InvoiceSnapshot, rules: Rules, reason: ReviewReason) -> Outcome:
    if known.reversed:
        return _KEEP
    if known.by_hand:  # a person knew better than the provider before, and isn't overruled by it now
        return _alarm(snapshot)
    return _review(known, PaymentException.NONE, reason) if rules.reversal == "review" else Outcome(Action.REVERSE)


def _review(known: Known, exception: PaymentException, reason: ReviewReason) -> Outcome:
    return _KEEP if reason in known.reviewed else Outcome(Action.REVIEW, exception, reason)
