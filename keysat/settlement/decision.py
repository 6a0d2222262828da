"""Decide the outcome of a check from our row and the provider's snapshot. Pure: a table and the amounts.

The status never goes backwards, and an unknown provider status changes nothing.
"""

from __future__ import annotations

from enum import Enum, auto

from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.providers.base import InvoiceSnapshot, ProviderStatus
from keysat.settlement.outcome import Action, InvoiceState, Outcome, SettlementRules


class Reading(Enum):
    """The columns of the table: the meaning of a snapshot."""

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
    INVALIDATE = auto()
    REVIEW = auto()
    REVERSE = auto()
    PAID_AGAIN = auto()


_V = _Verdict
_ORDER = tuple(Reading)
# Columns: open, settled, expired, paid late, underpaid, invalid, refunded, unknown.
_TABLE = {
    InvoiceStatus.PENDING: (
        _V.KEEP, _V.SETTLE, _V.EXPIRE, _V.LATE, _V.EXPIRE, _V.INVALIDATE, _V.REVIEW, _V.KEEP,
    ),
    InvoiceStatus.EXPIRED: (
        _V.KEEP, _V.LATE, _V.KEEP, _V.LATE, _V.REVIEW, _V.INVALIDATE, _V.REVIEW, _V.KEEP,
    ),
    InvoiceStatus.INVALID: (
        _V.KEEP, _V.SETTLE, _V.KEEP, _V.REVIEW, _V.REVIEW, _V.KEEP, _V.KEEP, _V.KEEP,
    ),
    InvoiceStatus.SETTLED: (
        _V.ALARM, _V.PAID_AGAIN, _V.ALARM, _V.PAID_AGAIN, _V.ALARM, _V.REVERSE, _V.REVERSE, _V.KEEP,
    ),
}  # fmt: skip
_OF_ANOTHER_VERSION = (_V.ALARM,) * len(_ORDER)
_REVIEWS = {
    Reading.PAID_LATE: ReviewReason.LATE,
    Reading.UNDERPAID: ReviewReason.UNDERPAID,
    Reading.REFUNDED: ReviewReason.REFUNDED,
    Reading.INVALID: ReviewReason.INVALIDATED,
}
UNDER_WAY = {ProviderStatus.PENDING, ProviderStatus.PROCESSING}
_KEEP = Outcome(Action.KEEP)


def decide(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Return the outcome of one check."""
    snapshot = known.with_rest(snapshot)
    reading = read(snapshot)
    if reading is Reading.UNDERPAID and known.status in _TABLE and known.completed_by(snapshot, rules):
        return _settle_completed(known, snapshot)
    return _by_table(reading, known, snapshot, rules)


def _by_table(reading: Reading, known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    match _TABLE.get(known.status, _OF_ANOTHER_VERSION)[_ORDER.index(reading)]:
        case _V.SETTLE:
            return _settle(known, snapshot, rules)
        case _V.LATE:
            return _settle_late(known, snapshot, rules)
        case _V.EXPIRE:
            return _close(Action.EXPIRE, known, snapshot, rules)
        case _V.INVALIDATE:
            return _close(Action.INVALIDATE, known, snapshot, rules)
        case _V.REVIEW:
            return _review_of(reading, known, snapshot, rules)
        case _V.REVERSE:
            return _reverse(known, snapshot, rules, _REVIEWS[reading])
        case _V.PAID_AGAIN:
            return _review(known, snapshot, ReviewReason.SETTLED_AGAIN) if known.reversed else _KEEP
        case _V.ALARM:
            return _alarm(known, snapshot)
        case _V.KEEP:
            return _unknown(snapshot) if reading is Reading.UNKNOWN else _keep(known, snapshot, rules)


def gone(known: InvoiceState) -> Outcome:
    """Return the outcome of the last check of an invoice that the provider no longer has."""
    reason = ReviewReason.UNCONFIRMED if known.paid >= known.price.amount else ReviewReason.UNDERPAID
    if not (known.paid or known.seen):
        return Outcome(Action.KEEP, unpaid=True)
    reason = reason if known.paid else ReviewReason.UNCONFIRMED
    return _KEEP if reason in known.reviewed else Outcome(Action.REVIEW, PaymentException.NONE, reason)


def read(snapshot: InvoiceSnapshot) -> Reading:
    """Return the table column of a snapshot."""
    match snapshot.status, snapshot.exception:
        case ((ProviderStatus.PENDING | ProviderStatus.PROCESSING), _):
            return Reading.OPEN
        case ProviderStatus.EXPIRED, (PaymentException.LATE | PaymentException.OVER):
            return Reading.PAID_LATE
        case ProviderStatus.EXPIRED, PaymentException.PARTIAL:
            return Reading.UNDERPAID
        case ProviderStatus.EXPIRED, PaymentException.NONE:
            return Reading.EXPIRED
        case ProviderStatus.SETTLED, _:
            return Reading.SETTLED
        case ProviderStatus.INVALID, _:
            return Reading.INVALID
        case ProviderStatus.REFUNDED, _:
            return Reading.REFUNDED
        case _:
            return Reading.UNKNOWN


def _keep(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Keep the status. A payment for an invoice that is closed, or checked for the last time, opens a review."""
    if known.status is InvoiceStatus.SETTLED:
        return _KEEP
    reason = _money_reason(known, snapshot, rules)
    closed = known.status is not InvoiceStatus.PENDING and snapshot.status not in UNDER_WAY
    if reason is not None and (known.last or (closed and snapshot.payment_seen)):
        return _review(known, snapshot, reason)
    return Outcome(Action.KEEP, unpaid=known.last and reason is None)


def _close(action: Action, known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Close the invoice. If money arrived or may still arrive, also open a review."""
    reason = _money_reason(known, snapshot, rules)
    if reason is None:
        return Outcome(action, unpaid=True)
    exception = PaymentException.PARTIAL if reason is ReviewReason.UNDERPAID else snapshot.exception
    return Outcome(action, exception, reason if _raises(known, snapshot, reason) else None)


def _money_reason(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> ReviewReason | None:
    """Return why the payment of an unsettled invoice needs review, or None if no money arrived or may arrive."""
    paid = snapshot.paid
    if paid is not None and paid.amount > 0 and paid.currency != known.price.currency:
        return ReviewReason.CURRENCY
    amount = max(known.paid, 0 if paid is None else paid.amount)
    if amount >= known.price.less_basis_points(rules.tolerance_bps):
        return ReviewReason.UNCONFIRMED
    if amount > 0 or snapshot.exception is PaymentException.PARTIAL:
        return ReviewReason.UNDERPAID
    in_full = snapshot.exception in {PaymentException.LATE, PaymentException.OVER}
    return ReviewReason.UNCONFIRMED if known.seen or in_full or snapshot.payment_seen else None


def _more(known: InvoiceState, snapshot: InvoiceSnapshot) -> bool:
    """Whether more money arrived than the last check saw. Amounts in another currency can't be compared."""
    paid = snapshot.paid
    return paid is not None and paid.currency == known.price.currency and paid.amount > known.paid


def _raises(known: InvoiceState, snapshot: InvoiceSnapshot, reason: ReviewReason) -> bool:
    return reason not in known.reviewed or (_more(known, snapshot) and known.status is not InvoiceStatus.SETTLED)


def _unknown(snapshot: InvoiceSnapshot) -> Outcome:
    return Outcome(Action.KEEP, alarm=f"the provider's status {snapshot.provider_status} is not known to this version")


def _settle(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Settle, unless the amount or currency is wrong. The amount isn't checked if the merchant marked it by hand."""
    received = snapshot.charged if snapshot.paid is None else snapshot.paid
    for amount in (snapshot.charged, snapshot.paid):
        if amount is not None and amount.currency != known.price.currency:
            return _review(known, snapshot, ReviewReason.CURRENCY)
    if snapshot.exception is PaymentException.MARKED:
        return Outcome(Action.SETTLE, PaymentException.MARKED)
    if received is None or received.amount < known.price.less_basis_points(rules.tolerance_bps):
        return _review(known, snapshot, ReviewReason.AMOUNT)
    if received.amount > known.price.amount:
        return Outcome(Action.SETTLE, PaymentException.OVER)
    late = known.status is InvoiceStatus.EXPIRED or snapshot.exception is PaymentException.LATE
    return Outcome(Action.SETTLE, PaymentException.LATE if late else PaymentException.NONE)


def _settle_completed(known: InvoiceState, snapshot: InvoiceSnapshot) -> Outcome:
    """Settle an invoice that its rests complete. The provider goes on to call it underpaid."""
    if known.status is InvoiceStatus.SETTLED:
        return _KEEP
    over = snapshot.paid is not None and snapshot.paid.amount > known.price.amount
    return Outcome(Action.SETTLE, PaymentException.OVER if over else PaymentException.PARTIAL)


def _settle_late(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Settle as late, or open a review if the rules say so. An invoice that the merchant marked needs no review."""
    outcome = _settle(known, snapshot, rules)
    marked = outcome.exception is PaymentException.MARKED
    if rules.late_payment == "review" and outcome.action is Action.SETTLE and not marked:
        return _review(known, snapshot, ReviewReason.LATE, PaymentException.LATE)
    return outcome


def _alarm(known: InvoiceState, snapshot: InvoiceSnapshot) -> Outcome:
    if known.status not in _TABLE:
        return Outcome(Action.KEEP, alarm=f"the invoice's status {known.status} is not known to this version")
    return Outcome(Action.KEEP, alarm=f"the invoice is settled here, but {snapshot.provider_status} at the provider")


def _reverse(known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules, reason: ReviewReason) -> Outcome:
    if known.reversed:
        return _KEEP
    if known.by_hand:  # the provider doesn't override a person's decision
        return _alarm(known, snapshot)
    if rules.reversal == "review":
        return _review(known, snapshot, reason, PaymentException.NONE)
    return Outcome(Action.REVERSE)


def _review_of(reading: Reading, known: InvoiceState, snapshot: InvoiceSnapshot, rules: SettlementRules) -> Outcome:
    """Open the review for a table column. An invoice reported as underpaid may be paid in full by now."""
    reason = _REVIEWS[reading]
    if reading is Reading.UNDERPAID:
        reason = _money_reason(known, snapshot, rules) or reason
    return _review(known, snapshot, reason)


def _review(
    known: InvoiceState, snapshot: InvoiceSnapshot, reason: ReviewReason, exception: PaymentException | None = None
) -> Outcome:
    if not _raises(known, snapshot, reason):
        return _KEEP
    if exception is None:
        exception = PaymentException.PARTIAL if reason is ReviewReason.UNDERPAID else snapshot.exception
    return Outcome(Action.REVIEW, exception, reason)
