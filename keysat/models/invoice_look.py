"""What the provider said of an invoice, a row for each time that it said something else."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt


class InvoiceLook(Base):
    """An answer, or the error that came instead, and the `outcome` it led to.

    `check_count` is the invoice's at that time: up to the next row's, all looks heard the same.
    """

    __tablename__ = "invoice_looks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    at: Mapped[CreatedAt]
    actor: Mapped[str]
    said: Mapped[str]
    outcome: Mapped[str]
    check_count: Mapped[int]
