"""Machines: the seats on which a license is used."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set


class Machine(Base):
    """A seat of a license, in use until `deactivated_at`.

    `fingerprint_hash` is the SHA-256 of the machine's fingerprint. `by_holder` means that the key's holder freed the
    seat from elsewhere, which is limited.
    """

    __tablename__ = "machines"
    __table_args__ = (
        CheckConstraint("octet_length(fingerprint_hash) = 32", name="fingerprint_hash"),
        Index(
            "uq_machines_active",
            "license_id",
            "fingerprint_hash",
            unique=True,
            postgresql_where=text("deactivated_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), index=True)
    fingerprint_hash: Mapped[bytes]
    hostname: Mapped[str | None]
    platform: Mapped[str | None]
    activated_at: Mapped[CreatedAt]
    last_seen_at: Mapped[CreatedAt]
    deactivated_at: Mapped[Time | None]
    deactivation_reason: Mapped[str | None]
    by_holder: Mapped[bool] = mapped_column(server_default="false")

    deactivated = is_set("deactivated_at")
