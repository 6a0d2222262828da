"""Products: what a license is for."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.db import Base
from keysat.models.columns import CreatedAt, Id

SLUG = "^[a-z0-9][a-z0-9._-]{0,62}$"


class Product(Base):
    """`price_amount` is in the smallest unit of `price_currency` (sat for BTC, cent for the others)."""

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
    created_at: Mapped[CreatedAt]
