"""The price of a purchase before it starts, with a discount code or without."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from keysat.core.db import reading
from keysat.sales import quote
from keysat.sales.order import Order
from keysat.web.errors import documented
from keysat.web.fields import Line, Slug
from keysat.web.limits import limit_previews
from keysat.web.products import sats

router = APIRouter(prefix="/v1/discount-codes", tags=["purchase"], responses=documented(404, 409))

Product = Annotated[Slug, Query(description="The product's slug.")]
Policy = Annotated[Slug | None, Query(description="The policy's slug. Without one, the product's default applies.")]
Code = Annotated[Line | None, Query(description="The discount code, in upper or lower case.")]


class Preview(BaseModel):
    """The price before and after the discount, in the smallest unit of `currency`. Sats are 0 for non-BTC prices."""

    product: str
    policy: str
    code: str | None
    base_price_sats: int
    amount_sats: int
    discount_applied_sats: int
    base_amount: int
    amount: int
    discount: int
    currency: str


@router.get("/preview", dependencies=[Depends(limit_previews)])
def preview(product: Product, policy: Policy = None, code: Code = None) -> Preview:
    """Get the price that a purchase would have now. No slot of the code is reserved."""
    with reading() as session:
        offer = quote.preview(session, Order(product, policy=policy, code=(code or "").strip() or None))
    return Preview(
        product=offer.product.slug,
        policy=offer.policy.slug,
        code=offer.code and offer.code.code,
        base_price_sats=sats(offer.base),
        amount_sats=sats(offer.price),
        discount_applied_sats=sats(offer.base) - sats(offer.price),
        base_amount=offer.base.amount,
        amount=offer.price.amount,
        discount=offer.discount,
        currency=offer.price.currency,
    )
