"""Trials: who had one of which product."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id


class Trial(Base):
    """A trial that somebody had. `buyer_hash` is the SHA-256 of the product and the mailbox or the machine."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("product_id", "buyer_hash"),
        CheckConstraint("octet_length(buyer_hash) = 32", name="buyer_hash"),
    )

    id: Mapped[Id]
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    buyer_hash: Mapped[bytes]
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    created_at: Mapped[CreatedAt]
