"""Licenses: at most one per invoice. The license key is derived from the row and never stored."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Id, Time, enum_column, one_of


class LicenseStatus(StrEnum):
    """Whether a license is valid."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class LicenseSource(StrEnum):
    """How a license was issued. A manual license has no invoice."""

    PURCHASE = "purchase"
    MANUAL = "manual"


class License(Base):
    """A license. Its terms are copied from the policy when it is issued, so later policy changes don't affect it.

    `signer` is the id of the signing key (`keysat.licenses.signer.Signer.key_id`). `fingerprint_hash` is the
    SHA-256 of the machine fingerprint that the key is bound to, if any.
    """

    __tablename__ = "licenses"
    __table_args__ = (
        one_of("status", LicenseStatus),
        one_of("source", LicenseSource),
        CheckConstraint("(source = 'purchase') = (invoice_id IS NOT NULL)", name="invoice_id"),
        CheckConstraint("releases_per_seat >= 0", name="releases_per_seat"),
        CheckConstraint("octet_length(fingerprint_hash) = 32", name="fingerprint_hash"),
    )

    id: Mapped[Id]
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"), unique=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    policy_id: Mapped[UUID] = mapped_column(ForeignKey("policies.id"))
    status: Mapped[LicenseStatus] = enum_column(LicenseStatus, LicenseStatus.ACTIVE)
    source: Mapped[LicenseSource] = enum_column(LicenseSource)
    is_trial: Mapped[bool]
    max_machines: Mapped[int]
    releases_per_seat: Mapped[int] = mapped_column(server_default="3")
    grace_seconds: Mapped[int]
    entitlements: Mapped[list[str]] = mapped_column(ARRAY(Text))
    fingerprint_hash: Mapped[bytes | None]
    issued_at: Mapped[Time]
    expires_at: Mapped[Time | None]
    signer: Mapped[str]
