"""Apply discount codes to prices. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keysat.core.errors import Conflict
from keysat.core.money import Money
from keysat.models.discount_code import CodeKind


class NotApplicable(Conflict):
    """The code can't be used for this purchase."""


@dataclass(frozen=True)
class Discount:
    """A code's effect. `kind` decides the unit of `amount`: basis points, sats or the smallest unit of `currency`."""

    code: str
    kind: CodeKind
    amount: int
    currency: str = "BTC"


def discounted(price: Money, discount: Discount) -> Money:
    """Return the reduced price. It is never higher, and at least 1 of the smallest unit unless it is free.

    Raises:
        NotApplicable: the code is in another currency than the price, or of a kind that another version added.
    """
    if price.amount == 0:
        return price
    match discount.kind:
        case CodeKind.FREE_LICENSE:
            return Money(0, price.currency)
        case CodeKind.PERCENT:
            return Money(max(1, price.less_basis_points(discount.amount)), price.currency)
        case CodeKind.FIXED_SATS:
            _require_currency(price, discount)
            return Money(max(1, price.amount - discount.amount), price.currency)
        case CodeKind.SET_PRICE:
            _require_currency(price, discount)
            return Money(min(price.amount, discount.amount), price.currency)
    raise NotApplicable(f"code {discount.code} is of a kind that this version doesn't know ({discount.kind}).")


def _require_currency(price: Money, discount: Discount) -> None:
    if discount.currency != price.currency:
        raise NotApplicable(
            f"code {discount.code} is in {discount.currency}, so it can't be used for a price in {price.currency}."
        )
