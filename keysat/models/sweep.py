"""Sweeps: page-by-page passes over all invoices of an account at its provider."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set


class Sweep(Base):
    """A sweep of the provider's invoices created since `since`, newest first. An account has one sweep at a time.

    `next_until` and `skip` are the start of the next page, so an interrupted sweep resumes there. Another worker may be
    running the sweep until `leased_until`. `orphans` are invoices with an id of ours that are paid and can't be
    adopted, or can't be read. `skipped` is the number of all unreadable entries.
    """

    __tablename__ = "sweeps"
    __table_args__ = (
        CheckConstraint("skip >= 0", name="skip"),
        Index("uq_sweeps_unfinished", "provider_account_id", unique=True, postgresql_where=text("finished_at IS NULL")),
    )

    id: Mapped[Id]
    provider_account_id: Mapped[UUID] = mapped_column(ForeignKey("provider_accounts.id"), index=True)
    since: Mapped[Time]
    started_at: Mapped[CreatedAt]
    next_until: Mapped[Time]
    skip: Mapped[int] = mapped_column(server_default="0")
    leased_until: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    seen: Mapped[int] = mapped_column(server_default="0")
    changed: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    adopted: Mapped[int] = mapped_column(server_default="0")
    orphans: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")

    finished = is_set("finished_at")
