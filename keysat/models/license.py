"""Licenses: at most one per invoice. The license key is derived from the row and never stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, Text, case, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Id, Time, enum_column, one_of, seconds

# Licenses of which some key says something else than the license itself.
LISTED = "status <> 'active' OR rotated_at IS NOT NULL OR end_extended OR end_shortened"


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

    An `is_recurring` license has a subscription. Its grace period is longer by `outage_seconds`, in which nobody could
    pay its renewal. `signer` is the id of the signing key (`keysat.licenses.signer.Signer.key_id`). `fingerprint_hash`
    is the SHA-256 of the machine fingerprint that the key is bound to, if any. `holder_email` is the holder's address,
    or NULL for the one of the invoice's buyer. Keys that were issued before `rotated_at`, in whole seconds, are refused
    online. Since `transferred_at` the license isn't the buyer's any more. `next_notice_at` is when its end is looked at
    next, to give notice of it. The database sets it when the end is set, and NULL is a license from before that. The
    database notes that a key's end was ever moved: `end_extended` means that an earlier key may end too soon,
    `end_shortened` that one may end too late.
    """

    __tablename__ = "licenses"
    __table_args__ = (
        one_of("status", LicenseStatus),
        one_of("source", LicenseSource),
        CheckConstraint("(source = 'purchase') = (invoice_id IS NOT NULL)", name="invoice_id"),
        Index(
            "ix_licenses_holder_email", text("lower(holder_email)"), postgresql_where=text("holder_email IS NOT NULL")
        ),
        CheckConstraint("outage_seconds >= 0", name="outage_seconds"),
        Index("ix_licenses_renewable", "expires_at", postgresql_where=text("is_recurring AND status = 'active'")),
        CheckConstraint("releases_per_seat >= 0", name="releases_per_seat"),
        CheckConstraint("octet_length(fingerprint_hash) = 32", name="fingerprint_hash"),
        Index(
            "ix_licenses_notice_due",
            "next_notice_at",
            postgresql_where=text("expires_at IS NOT NULL AND status = 'active'"),
        ),
        Index("ix_licenses_listed", "id", postgresql_where=text(LISTED)),
    )

    id: Mapped[Id]
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"), unique=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    policy_id: Mapped[UUID] = mapped_column(ForeignKey("policies.id"))
    status: Mapped[LicenseStatus] = enum_column(LicenseStatus, LicenseStatus.ACTIVE)
    source: Mapped[LicenseSource] = enum_column(LicenseSource)
    is_trial: Mapped[bool]
    is_recurring: Mapped[bool] = mapped_column(server_default="false")
    max_machines: Mapped[int]
    releases_per_seat: Mapped[int] = mapped_column(server_default="3")
    grace_seconds: Mapped[int]
    outage_seconds: Mapped[int] = mapped_column(server_default="0")
    entitlements: Mapped[list[str]] = mapped_column(ARRAY(Text))
    fingerprint_hash: Mapped[bytes | None]
    issued_at: Mapped[Time]
    expires_at: Mapped[Time | None]
    next_notice_at: Mapped[Time | None]
    signer: Mapped[str]
    holder_email: Mapped[str | None]
    rotated_at: Mapped[Time | None]
    transferred_at: Mapped[Time | None]
    end_extended: Mapped[bool] = mapped_column(server_default="false")
    end_shortened: Mapped[bool] = mapped_column(server_default="false")

    def holder(self, buyer_email: str | None) -> str | None:
        """Return the holder's address, given that of its invoice's buyer. Returns None if none is known."""
        own = self.holder_email is not None or self.transferred_at is not None
        return self.holder_email if own else buyer_email

    def belongs_to(self, invoiced_at: datetime) -> bool:
        """Whether who opened an invoice for it then still holds it."""
        return self.transferred_at is None or self.transferred_at < invoiced_at

    @property
    def key_issued_at(self) -> datetime:
        """The time that the current key carries."""
        return self.rotated_at or self.issued_at

    @hybrid_property
    def key_ends_at(self) -> datetime | None:
        """The end that the current key carries, for a row and in SQL: that of the grace period if it can be renewed.

        A program without a connection knows no grace period, so it would refuse a buyer who may still renew.
        """
        return self.valid_until if self.is_recurring else self.expires_at

    @key_ends_at.inplace.expression
    @classmethod
    def _key_ends_at(cls) -> ColumnElement[datetime | None]:
        grace = case((cls.is_recurring, cls.grace_seconds + cls.outage_seconds), else_=0)
        return cls.expires_at + seconds(grace)

    @property
    def valid_until(self) -> datetime | None:
        """The end of the grace period. None = perpetual."""
        return None if self.expires_at is None else self.expires_at + self.grace

    @property
    def grace(self) -> timedelta:
        """How long the license is valid after its end."""
        return timedelta(seconds=self.grace_seconds + self.outage_seconds)
