"""Price a purchase from product, policy and discount code."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from keysat.catalog.products import choose_policy, price_of
from keysat.codes.pricing import discounted
from keysat.codes.reserve import CodeUsedUp, discount_of, find_code
from keysat.core.money import Money
from keysat.models import DiscountCode, Policy, Product
from keysat.sales.order import Order


@dataclass(frozen=True)
class Quote:
    """The product and policy, with the price before and after the discount, both in the product's currency."""

    product: Product
    policy: Policy
    base: Money
    price: Money
    code: DiscountCode | None

    @property
    def discount(self) -> int:
        """The discount in the smallest unit."""
        return self.base.amount - self.price.amount


def quote(session: Session, product: str, policy: str | None, code: str | None) -> Quote:
    """Quote a purchase from slugs and a code in upper or lower case. No policy means the product's default.

    Raises:
        NotFound: no such product, policy or code.
        NotApplicable: the code can't be used for the policy.
    """
    sold, terms = choose_policy(session, product, policy)
    base = price_of(sold, terms)
    if code is None:
        return Quote(sold, terms, base, base, None)
    row = find_code(session, code, sold.id, terms.id)
    return Quote(sold, terms, base, discounted(base, discount_of(row)), row)


def preview(session: Session, order: Order) -> Quote:
    """Quote a purchase for a buyer who may not start it. Takes no slot of the code.

    Raises:
        NotFound: no such product, policy or code.
        NotApplicable: the code can't be used for the policy.
        CodeUsedUp: no slot of the code is left now.
    """
    offer = quote(session, order.product, order.policy, order.code)
    if offer.code is not None and offer.code.used_up:
        raise CodeUsedUp(offer.code.code)
    return offer
