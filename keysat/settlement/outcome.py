"""What a decision starts from and what it comes to: the state of our row, the operator's rules, the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from keysat.core.money import Money
from keysat.models.invoice import InvoiceStatus, PaymentException, ReviewReason


@dataclass(frozen=True)
class InvoiceState:
    """What our row says.

    `reviewed` holds the reasons it was ever in review for: each is raised once, and again when more money came in.
    `paid` is what came in by the last check, in the price's currency; `seen`: a payment was seen, of whatever amount.
    `by_hand`: a person settled it. `last`: it is so old that nobody checks again after this.
    """

    status: InvoiceStatus
    price: Money
    reviewed: frozenset[str] = frozenset()
    reversed: bool = False
    by_hand: bool = False
    last: bool = False
    paid: int = 0
    seen: bool = False


@dataclass(frozen=True)
class SettlementRules:
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
    """The decision. `review` may come with `EXPIRE` and `INVALIDATE`; `alarm` is a sentence where something is odd.

    `unpaid`: the invoice ends without any money that came in or may still come, so nothing is kept for its buyer.
    """

    action: Action
    exception: PaymentException = PaymentException.NONE
    review: ReviewReason | None = None
    alarm: str | None = None
    unpaid: bool = False
