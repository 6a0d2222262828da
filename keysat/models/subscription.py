"""Subscriptions: on what terms a license is renewed, and the periods that paid renewals added to it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set


class Subscription(Base):
    """The terms of a license's renewals, frozen when it was issued: one period for one price, at one account.

    `amount` is in the smallest unit of `currency`. Without an account, the product's is used. A cancelled one lasts to
    the end of its license, and a renewal that is paid takes it up again.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint("period_seconds > 0", name="period_seconds"),
        CheckConstraint("amount >= 0", name="amount"),
    )

    id: Mapped[Id]
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), unique=True)
    provider_account_id: Mapped[UUID | None] = mapped_column(ForeignKey("provider_accounts.id"))
    period_seconds: Mapped[int]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    started_at: Mapped[CreatedAt]
    cancelled_at: Mapped[Time | None]

    cancelled = is_set("cancelled_at")


class LicenseExtension(Base):
    """A period that a paid renewal added to a license, at most one for each invoice.

    It was taken back at `taken_back_at`, because the payment went back.
    """

    __tablename__ = "license_extensions"
    __table_args__ = (CheckConstraint("period_seconds > 0", name="period_seconds"),)

    id: Mapped[Id]
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), unique=True)
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), index=True)
    period_seconds: Mapped[int]
    previous_end: Mapped[Time]
    new_end: Mapped[Time]
    extended_at: Mapped[CreatedAt]
    taken_back_at: Mapped[Time | None]

    taken_back = is_set("taken_back_at")
