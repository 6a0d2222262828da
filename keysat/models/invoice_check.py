"""Provider readings of an invoice: one row each time the reading changes."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt


class InvoiceCheck(Base):
    """A provider response or error, and the `outcome` it led to.

    `check_count` is the invoice's `check_count` at that time. All checks up to the next row's got the same reading.
    """

    __tablename__ = "invoice_looks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    at: Mapped[CreatedAt]
    actor: Mapped[str]
    provider_status: Mapped[str] = mapped_column("said")
    outcome: Mapped[str]
    check_count: Mapped[int]
