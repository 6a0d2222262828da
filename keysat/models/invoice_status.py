"""The statuses of an invoice, what was unusual about its payment, and why a person must decide."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """What the payment of an invoice is for."""

    PURCHASE = "purchase"
    RENEWAL = "renewal"
    REST = "rest"


class InvoiceStatus(StrEnum):
    """The statuses of an invoice in Keysat. `settled` means that the provider confirmed the payment."""

    PENDING = "pending"
    EXPIRED = "expired"
    INVALID = "invalid"
    SETTLED = "settled"


class PaymentException(StrEnum):
    """What was unusual about a payment."""

    NONE = "none"
    LATE = "late"
    PARTIAL = "partial"
    OVER = "over"
    MARKED = "marked"


class ReviewReason(StrEnum):
    """Why received or returned money needs a person's decision."""

    UNDERPAID = "underpaid"
    LATE = "late"
    AMOUNT = "amount"
    CURRENCY = "currency"
    REFUNDED = "refunded"
    INVALIDATED = "invalidated"
    UNCONFIRMED = "unconfirmed"
    SETTLED_AGAIN = "settled_again"
    EXCESS = "excess"


def money_is_missing(review: ReviewReason | None, paid: int | None, price: int) -> bool:
    """Whether a review is about a payment that is too low. If the amount isn't known (None), the provider must say so.

    Both amounts are in the smallest unit of the price's currency.
    """
    if paid is None:
        return review == ReviewReason.UNDERPAID
    return review in {ReviewReason.UNDERPAID, ReviewReason.AMOUNT} and paid < price
