"""Public routes for products and their policies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from keysat.catalog.products import is_on_sale, list_products, policies_of, price_of, require_product
from keysat.codes.report import ReportedCode, featured_codes
from keysat.core.db import reading
from keysat.core.errors import NotFound
from keysat.core.money import Money
from keysat.models import Policy, Product
from keysat.models.discount_code import CodeKind
from keysat.models.policy import SECONDS_OF_A_DAY
from keysat.web.errors import documented
from keysat.web.fields import Slug

router = APIRouter(prefix="/v1/products", tags=["products"], responses=documented())

ProductSlug = Annotated[Slug, Path(description="The product's slug.")]


class Entitlement(BaseModel):
    """An entitlement and its explanation for buyers."""

    slug: str
    name: str
    description: str


class FeaturedCode(BaseModel):
    """A code that everybody may use. By `kind`, `amount` is in basis points, sats or the smallest unit of `currency`.

    `policies` are the slugs of the only policies it is for, or empty.
    """

    code: str
    kind: CodeKind | str
    amount: int
    currency: str
    policies: list[str]
    expires_at: datetime | None


class PublicProduct(BaseModel):
    """A product. `price_amount` is in the smallest unit of `price_currency`. Sats are 0 for non-BTC prices."""

    id: str
    slug: str
    name: str
    description: str
    base_price_sats: int
    price_amount: int
    price_currency: str
    entitlements_catalog: list[Entitlement]
    featured_codes: list[FeaturedCode]


class PublicPolicy(BaseModel):
    """The terms of a license. 0 seconds = perpetual, 0 machines = unlimited.

    A recurring one can be renewed for `renewal_period_days`, rounded down, at the same price. Each renewal is paid by
    the buyer. Nothing is charged automatically. It begins with `trial_days` for free, once for each buyer, if
    that isn't 0.
    """

    slug: str
    name: str
    description: str
    price_sats: int
    price_amount: int
    price_currency: str
    duration_seconds: int
    max_machines: int
    is_trial: bool
    entitlements: list[str]
    highlighted: bool
    bullets: list[str]
    is_recurring: bool
    renewal_period_days: int
    trial_days: int


class Products(BaseModel):
    """All products on sale."""

    products: list[PublicProduct]


class Policies(BaseModel):
    """A product and the policies it is sold under. The first policy is the default."""

    product: PublicProduct
    policies: list[PublicPolicy]


def sats(money: Money) -> int:
    """Return an amount for the contract's sats fields. Other currencies, which they can't express, are 0."""
    return money.amount if money.currency == "BTC" else 0


@router.get("")
def products() -> Products:
    """List the products on sale."""
    with reading() as session:
        rows, codes = list_products(session, on_sale=True), featured_codes(session)
    return Products(products=[_product(row, codes) for row in rows])


@router.get("/{slug}", responses=documented(404))
def product(slug: ProductSlug) -> PublicProduct:
    """Get a product."""
    with reading() as session:
        row = _sold(require_product(session, slug))
        codes = featured_codes(session, row.id)
    return _product(row, codes)


@router.get("/{slug}/policies", responses=documented(404))
def policies(slug: ProductSlug) -> Policies:
    """List the policies that a product is sold under."""
    with reading() as session:
        row = _sold(require_product(session, slug))
        terms, codes = policies_of(session, row), featured_codes(session, row.id)
    return Policies(product=_product(row, codes), policies=[_policy(row, policy) for policy in terms])


def _sold(row: Product) -> Product:
    if not is_on_sale(row):
        raise NotFound("product", row.slug)
    return row


def _product(row: Product, codes: Sequence[ReportedCode]) -> PublicProduct:
    price = Money(row.price_amount, row.price_currency)
    return PublicProduct(
        id=str(row.id),
        slug=row.slug,
        name=row.name,
        description=row.description,
        base_price_sats=sats(price),
        price_amount=price.amount,
        price_currency=price.currency,
        entitlements_catalog=[Entitlement.model_validate(entitlement) for entitlement in row.entitlements_catalog],
        featured_codes=[_featured(found) for found in codes if found.fits(row.id, row.price_currency)],
    )


def _featured(found: ReportedCode) -> FeaturedCode:
    code = found.row
    return FeaturedCode(
        code=code.code,
        kind=code.kind,
        amount=code.amount,
        currency=code.currency,
        policies=found.policies,
        expires_at=code.expires_at,
    )


def _policy(product: Product, row: Policy) -> PublicPolicy:
    price = price_of(product, row)
    duration = row.duration_seconds or 0
    return PublicPolicy(
        slug=row.slug,
        name=row.name,
        description=row.description,
        price_sats=sats(price),
        price_amount=price.amount,
        price_currency=price.currency,
        duration_seconds=duration,
        max_machines=row.max_machines,
        is_trial=row.is_trial,
        entitlements=row.entitlements,
        highlighted=row.highlighted,
        bullets=row.bullets,
        is_recurring=row.is_recurring,
        renewal_period_days=duration // SECONDS_OF_A_DAY if row.is_recurring else 0,
        trial_days=row.trial_days,
    )
