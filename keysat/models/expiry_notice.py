"""Notices of a license's end: which were given."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time


class ExpiryNotice(Base):
    """A notice that a license ends at `ends_at`, given `days_before` that. 0 = that it has ended."""

    __tablename__ = "expiry_notices"
    __table_args__ = (
        UniqueConstraint("license_id", "ends_at", "days_before"),
        CheckConstraint("days_before >= 0", name="days_before"),
    )

    id: Mapped[Id]
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"))
    ends_at: Mapped[Time]
    days_before: Mapped[int]
    created_at: Mapped[CreatedAt]
