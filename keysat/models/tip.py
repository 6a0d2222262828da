"""Tips: the amount to pay to a Lightning Address for a license, and the one payment that may be in flight."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, enum_column, one_of


class TipStatus(StrEnum):
    """The status of a tip.

    The payment of a `paying` tip may have been sent. A `held` tip waits for a person.
    """

    OWED = "owed"
    PAYING = "paying"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"
    HELD = "held"


class Tip(Base):
    """A tip. `bolt11` and `payment_hash` belong to the last requested payment, which began at `paying_since`.

    Another invoice is requested only once that payment has definitely failed. `resent` means that several requests for
    it may be in flight. Amounts are in millisatoshi. `epoch` is the epoch of its invoice, or the one in which a person
    allowed the payment. In a later epoch, it is unknown whether the tip was already paid.
    """

    __tablename__ = "tips"
    __table_args__ = (
        UniqueConstraint("invoice_id", "recipient"),
        UniqueConstraint("payment_hash"),
        one_of("status", TipStatus),
        CheckConstraint("amount_msat > 0", name="amount_msat"),
        CheckConstraint("status <> 'paying' OR payment_hash IS NOT NULL", name="paying"),
        CheckConstraint("(status IN ('owed', 'paying')) = (next_attempt_at IS NOT NULL)", name="next_attempt_at"),
        Index("ix_tips_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
        Index("ix_tips_paying_since", "paying_since", postgresql_where=text("paying_since IS NOT NULL")),
    )

    id: Mapped[Id]
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    provider_account_id: Mapped[UUID] = mapped_column(ForeignKey("provider_accounts.id"))
    recipient: Mapped[str]
    label: Mapped[str] = mapped_column(server_default="")
    amount_msat: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[TipStatus] = enum_column(TipStatus, TipStatus.OWED)
    bolt11: Mapped[str | None]
    payment_hash: Mapped[str | None]
    payable_until: Mapped[Time | None]
    paying_since: Mapped[Time | None]
    next_attempt_at: Mapped[Time | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    resent: Mapped[bool] = mapped_column(server_default=false())
    epoch: Mapped[int] = mapped_column(server_default="0")
    fee_msat: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[Time | None]


class TipPayment(Base):
    """An invoice that a tip was committed to. No invoice serves twice, so its record at the node has one meaning."""

    __tablename__ = "tip_payments"

    payment_hash: Mapped[str] = mapped_column(primary_key=True)
    tip_id: Mapped[UUID] = mapped_column(ForeignKey("tips.id"), index=True)
    created_at: Mapped[CreatedAt]
