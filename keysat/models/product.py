"""Products: what a license is for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set

SLUG = "^[a-z0-9][a-z0-9._-]{0,62}$"


class Product(Base):
    """`price_amount` is in the smallest unit of `price_currency` (sat for BTC, cent for the others).

    `entitlements_catalog` explains entitlements to buyers: a list of {"slug", "name", "description"}. An archived
    product is no longer shown or sold. Its licenses don't change. `provider_account_id` is the account that sells it.
    If NULL, the accounts' ranks decide.
    """

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint(f"slug ~ '{SLUG}'", name="slug"),
        CheckConstraint("price_amount >= 0", name="price_amount"),
    )

    id: Mapped[Id]
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    price_amount: Mapped[int] = mapped_column(BigInteger)
    price_currency: Mapped[str] = mapped_column(server_default="BTC")
    entitlements_catalog: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    provider_account_id: Mapped[UUID | None] = mapped_column(ForeignKey("provider_accounts.id"))
    created_at: Mapped[CreatedAt]
    archived_at: Mapped[Time | None]

    archived = is_set("archived_at")
