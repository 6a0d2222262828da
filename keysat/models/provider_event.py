"""Provider events: received webhooks, each stored once before it is handled."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set


class ProviderEvent(Base):
    """`body` contains the raw bytes. `provider_invoice_id` and `order_id` identify the invoice to check.

    The rest of the event is not trusted. An event is pending while `next_attempt_at` is set. `handled_at` is when the
    provider had been checked after the event arrived, or when the event matched no invoice. `looked_at` is when this
    event itself triggered a check.
    """

    __tablename__ = "provider_events"
    __table_args__ = (
        UniqueConstraint("provider_account_id", "delivery_id"),
        Index("ix_provider_events_owed", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
        Index("ix_provider_events_invoice", "provider_account_id", "provider_invoice_id", "looked_at"),
    )

    id: Mapped[Id]
    provider_account_id: Mapped[UUID] = mapped_column(ForeignKey("provider_accounts.id"))
    delivery_id: Mapped[str]
    kind: Mapped[str]
    provider_invoice_id: Mapped[str | None]
    order_id: Mapped[UUID | None]
    body: Mapped[bytes]
    received_at: Mapped[CreatedAt]
    handled_at: Mapped[Time | None]
    looked_at: Mapped[Time | None]
    next_attempt_at: Mapped[Time | None]
    attempts: Mapped[int] = mapped_column(server_default="0")

    handled = is_set("handled_at")
    pending = is_set("next_attempt_at")
