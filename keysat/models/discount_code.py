"""Discount codes and their redemptions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ColumnElement, ForeignKey, Index, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_method
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, enum_column, is_set, one_of

CODE = "^[A-Z0-9][A-Z0-9._-]{0,62}$"


class CodeKind(StrEnum):
    """What a code does to a price.

    The code's `amount` is in basis points, sats, the smallest unit, or 0, in the order of the members.
    """

    PERCENT = "percent"
    FIXED_SATS = "fixed_sats"
    SET_PRICE = "set_price"
    FREE_LICENSE = "free_license"


# The kinds whose amount is in the code's currency. They change no price in another one.
IN_CURRENCY = {CodeKind.FIXED_SATS, CodeKind.SET_PRICE}


class RedemptionStatus(StrEnum):
    """A redemption uses a slot while `reserved` or `redeemed`.

    `excess` means that the slot was freed when the invoice ended, the buyer paid later, and no slot was left. The
    license is still issued, and uses no slot.
    """

    RESERVED = "reserved"
    REDEEMED = "redeemed"
    CANCELLED = "cancelled"
    EXCESS = "excess"


HELD = (RedemptionStatus.RESERVED, RedemptionStatus.REDEEMED)


class DiscountCode(Base):
    """`uses` is the number of slots in use. A constraint limits it to `max_uses` (NULL = unlimited).

    `currency` is the currency of a `set_price`. `product_id` NULL means every product. `policy_ids` are the only
    policies of the product that the code is for. If empty, it is for all. One buyer, by e-mail address, may have
    `max_uses_per_buyer` slots (NULL = unlimited). A `featured` code is shown to everybody.
    """

    __tablename__ = "discount_codes"
    __table_args__ = (
        one_of("kind", CodeKind),
        CheckConstraint(f"code ~ '{CODE}'", name="code"),
        CheckConstraint(
            "CASE kind WHEN 'percent' THEN amount BETWEEN 1 AND 10000 WHEN 'free_license' THEN amount = 0"
            " ELSE amount > 0 END",
            name="amount",
        ),
        CheckConstraint("kind = 'set_price' OR currency = 'BTC'", name="currency"),
        CheckConstraint("max_uses > 0", name="max_uses"),
        CheckConstraint("max_uses_per_buyer > 0", name="max_uses_per_buyer"),
        CheckConstraint("product_id IS NOT NULL OR policy_ids = '{}'", name="policy_ids"),
        CheckConstraint("uses >= 0 AND (max_uses IS NULL OR uses <= max_uses)", name="uses"),
    )

    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[CodeKind] = enum_column(CodeKind)
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(server_default="BTC")
    max_uses: Mapped[int | None]
    uses: Mapped[int] = mapped_column(server_default="0")
    product_id: Mapped[UUID | None] = mapped_column(ForeignKey("products.id"))
    policy_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default="{}")
    max_uses_per_buyer: Mapped[int | None]
    featured: Mapped[bool] = mapped_column(server_default="false")
    description: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Time | None]
    disabled_at: Mapped[Time | None]

    disabled = is_set("disabled_at")

    @property
    def used_up(self) -> bool:
        """Whether every slot is taken."""
        return self.max_uses is not None and self.uses >= self.max_uses

    @hybrid_method
    def expired(self, now: Any) -> bool:
        """Whether the code's time is over. `now` is the database's time, in SQL func.now()."""
        return self.expires_at is not None and self.expires_at <= now

    @expired.expression
    @classmethod
    def _expired(cls, now: Any) -> ColumnElement[bool]:
        return func.coalesce(cls.expires_at <= now, False)


class Redemption(Base):
    """The use of a code for an invoice, at most one per invoice.

    `discount` is in the smallest unit of the invoice's currency. `buyer_hash` is the SHA-256 of the buyer's normalized
    e-mail address, or NULL if the buyer gave none.
    """

    __tablename__ = "redemptions"
    __table_args__ = (
        one_of("status", RedemptionStatus),
        CheckConstraint("discount >= 0", name="discount"),
        Index("ix_redemptions_code_id_buyer_hash", "code_id", "buyer_hash"),
    )

    id: Mapped[Id]
    code_id: Mapped[UUID] = mapped_column(ForeignKey("discount_codes.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), unique=True)
    status: Mapped[RedemptionStatus] = enum_column(RedemptionStatus, RedemptionStatus.RESERVED)
    discount: Mapped[int] = mapped_column(BigInteger)
    buyer_hash: Mapped[bytes | None]
    created_at: Mapped[CreatedAt]
    changed_at: Mapped[CreatedAt]
