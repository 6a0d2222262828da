"""Admin routes for products, including archived ones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from keysat.catalog import products
from keysat.catalog.changes import change_product
from keysat.catalog.products import add_product, require_product
from keysat.core.db import reading, transaction
from keysat.core.money import Money
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Amount, Row
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Currency, Input, Line, Lines, Name, Slug
from keysat.web.products import ProductSlug

router = APIRouter(prefix="/products", tags=["admin: products"])


class Entitlement(Input):
    """An entitlement and its explanation for buyers."""

    slug: Slug
    name: Name
    description: Line = ""


class NewProduct(Input):
    """A new product. The price is in the smallest unit of the currency (sats for BTC)."""

    slug: Slug
    name: Name
    price_amount: Amount
    price_currency: Currency = "BTC"
    description: Lines = ""


class ProductChanges(Changes):
    """Changes to a product. Fields left out stay unchanged. `account` sells it, by rank if null."""

    name: Name = UNCHANGED
    description: Lines = UNCHANGED
    price_amount: Amount = UNCHANGED
    price_currency: Currency = UNCHANGED
    entitlements_catalog: Annotated[list[Entitlement], Field(max_length=255)] = UNCHANGED
    account: Slug | None = UNCHANGED
    archived: bool = UNCHANGED


class ProductRow(Row):
    """A stored product."""

    id: UUID
    slug: str
    name: str
    description: str
    price_amount: int
    price_currency: str
    entitlements_catalog: list[Entitlement]
    created_at: datetime
    archived_at: datetime | None


@router.get("")
def list_products(_: Reader) -> list[ProductRow]:
    """List all products, oldest first."""
    with reading() as session:
        rows = products.list_products(session)
    return [ProductRow.model_validate(row) for row in rows]


@router.post("", status_code=201, responses=documented(409))
def create_product(body: NewProduct, actor: Writer) -> ProductRow:
    """Add a product. It can be sold once it has a policy."""
    price = Money(body.price_amount, body.price_currency)
    with transaction() as session:
        row = add_product(session, body.slug, body.name, price, body.description, actor=actor)
        session.refresh(row)
    return ProductRow.model_validate(row)


@router.get("/{slug}", responses=documented(404))
def get_product(slug: ProductSlug, _: Reader) -> ProductRow:
    """Get a product."""
    with reading() as session:
        return ProductRow.model_validate(require_product(session, slug))


@router.patch("/{slug}", responses=documented(404))
def update_product(slug: ProductSlug, body: ProductChanges, actor: Writer) -> ProductRow:
    """Change a product, or take it out of sale."""
    with transaction() as session:
        row = change_product(session, slug, body.changes(), actor)
    return ProductRow.model_validate(row)
