"""Policies: the terms under which a product is licensed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set
from keysat.models.product import SLUG

SECONDS_OF_A_DAY = 86_400


class Policy(Base):
    """Durations are in seconds. NULL `duration_seconds` means perpetual. 0 `max_machines` means unlimited.

    The licenses of an `is_recurring` policy can be renewed, each time for its duration. They
    begin with `trial_days` for free, once for each buyer, if that isn't 0. Its holder gets
    notice `expiry_notice_days` before the end.

    `price_amount`, in the product's currency, overrides the product's price if it is not NULL. Policies are shown by
    `position`, and then oldest first. The first one is the default. A `hidden` policy isn't shown, and is sold to those
    who name it. `bullets` are lines that buyers read. `tip_pct_bps` basis points of the payment go to the Lightning
    Address `tip_recipient`. A license's holder may free `releases_per_seat` seats in 30 days for each of its seats.
    """

    __tablename__ = "policies"
    __table_args__ = (
        UniqueConstraint("product_id", "slug"),
        CheckConstraint(f"slug ~ '{SLUG}'", name="slug"),
        CheckConstraint("duration_seconds > 0", name="duration_seconds"),
        CheckConstraint("grace_seconds >= 0", name="grace_seconds"),
        CheckConstraint("NOT is_recurring OR duration_seconds IS NOT NULL", name="is_recurring"),
        CheckConstraint("trial_days >= 0 AND (trial_days = 0 OR is_recurring)", name="trial_days"),
        CheckConstraint(
            "cardinality(expiry_notice_days) <= 10 AND 0 < ALL (expiry_notice_days)",
            name="expiry_notice_days",
        ),
        CheckConstraint("max_machines >= 0", name="max_machines"),
        CheckConstraint("releases_per_seat >= 0", name="releases_per_seat"),
        CheckConstraint("price_amount >= 0", name="price_amount"),
        CheckConstraint("cardinality(entitlements) <= 255", name="entitlements"),
        CheckConstraint("cardinality(bullets) <= 20", name="bullets"),
        CheckConstraint("tip_pct_bps BETWEEN 1 AND 10000", name="tip_pct_bps"),
        CheckConstraint("(tip_recipient IS NULL) = (tip_pct_bps IS NULL)", name="tip"),
    )

    id: Mapped[Id]
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    slug: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    duration_seconds: Mapped[int | None]
    grace_seconds: Mapped[int] = mapped_column(server_default="0")
    is_recurring: Mapped[bool] = mapped_column(server_default="false")
    expiry_notice_days: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default="{14,7,1}")
    trial_days: Mapped[int] = mapped_column(server_default="0")
    max_machines: Mapped[int] = mapped_column(server_default="1")
    releases_per_seat: Mapped[int] = mapped_column(server_default="3")
    is_trial: Mapped[bool] = mapped_column(server_default="false")
    entitlements: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    price_amount: Mapped[int | None] = mapped_column(BigInteger)
    tip_recipient: Mapped[str | None]
    tip_pct_bps: Mapped[int | None]
    tip_label: Mapped[str] = mapped_column(server_default="")
    highlighted: Mapped[bool] = mapped_column(server_default="false")
    hidden: Mapped[bool] = mapped_column(server_default="false")
    position: Mapped[int] = mapped_column(server_default="0")
    bullets: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    created_at: Mapped[CreatedAt]
    archived_at: Mapped[Time | None]

    archived = is_set("archived_at")

    def terms(self, now: datetime, trial_days: int | None = None) -> dict[str, Any]:
        """Return the columns of a license that is issued now, for a trial or not, in whole seconds like its key."""
        issued_at = now.replace(microsecond=0)
        lasts = self.duration_seconds if trial_days is None else trial_days * SECONDS_OF_A_DAY
        return {
            "is_trial": self.is_trial or trial_days is not None,
            "is_recurring": self.is_recurring,
            "max_machines": self.max_machines,
            "releases_per_seat": self.releases_per_seat,
            "grace_seconds": self.grace_seconds,
            "entitlements": self.entitlements,
            "issued_at": issued_at,
            "expires_at": None if lasts is None else issued_at + timedelta(seconds=lasts),
        }
