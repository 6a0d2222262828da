"""The input and output of a decision: the state of our row, the operator's rules, the outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from keysat.core.money import MAX_AMOUNT, Money
from keysat.core.settings import Settings
from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.providers.base import InvoiceSnapshot


@dataclass(frozen=True)
class SettlementRules:
    """The operator's rules. `tolerance_bps` is in hundredths of a percent of the price."""

    late_payment: Literal["issue", "review"] = "issue"
    reversal: Literal["suspend", "revoke", "review"] = "suspend"
    tolerance_bps: int = 0


@dataclass(frozen=True)
class InvoiceState:
    """The state of our row.

    `reviewed` contains all reasons it was ever in review for. Each opens a review once, and again if more money
    arrives. `paid` is the amount received as of the last check, in the price's currency, with `rest`, which came in by
    other invoices that complete this one. `seen`: a payment of any amount was seen. `by_hand`: a person settled it.
    `last`: this is the last check of an old invoice.
    """

    status: InvoiceStatus
    price: Money
    reviewed: frozenset[str] = frozenset()
    reversed: bool = False
    by_hand: bool = False
    last: bool = False
    paid: int = 0
    seen: bool = False
    rest: int = 0

    def with_rest(self, snapshot: InvoiceSnapshot) -> InvoiceSnapshot:
        """Return the snapshot with what other invoices brought in added to what was paid."""
        paid = snapshot.paid
        if not self.rest or paid is None or paid.currency != self.price.currency:
            return snapshot
        return replace(snapshot, paid=Money(min(MAX_AMOUNT, paid.amount + self.rest), paid.currency))

    def completed_by(self, snapshot: InvoiceSnapshot, rules: SettlementRules) -> bool:
        """Whether the price is paid together with the rests, which the snapshot includes, and every part confirmed."""
        paid = snapshot.paid
        if not self.rest or snapshot.unconfirmed or paid is None or paid.currency != self.price.currency:
            return False
        return paid.amount >= self.price.less_basis_points(rules.tolerance_bps)


def rules_of(settings: Settings) -> SettlementRules:
    """Return the settlement rules from the settings."""
    return SettlementRules(settings.late_payment, settings.reversal, settings.payment_tolerance_bps)


class Action(StrEnum):
    """The possible actions on an invoice."""

    KEEP = "keep"
    SETTLE = "settle"
    EXPIRE = "expire"
    INVALIDATE = "invalidate"
    REVIEW = "review"
    REVERSE = "reverse"


@dataclass(frozen=True)
class Outcome:
    """The decision. `review` may accompany `EXPIRE` and `INVALIDATE`. `alarm` describes an anomaly.

    `unpaid`: the invoice ends and no money arrived or may still arrive, so its discount code reservation is canceled.
    """

    action: Action
    exception: PaymentException = PaymentException.NONE
    review: ReviewReason | None = None
    alarm: str | None = None
    unpaid: bool = False
