"""Outbound webhooks: endpoints, events, pending deliveries and delivery attempts."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    and_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set


class WebhookEndpoint(Base):
    """A receiver configured by the operator. Empty `event_types` subscribes it to all events.

    `sealed_secrets` is a Fernet token over {"secret": ..., "previous": ...}. Deliveries are signed with both until
    `previous_until`. Deliveries to a paused endpoint wait. A disabled endpoint gets no new deliveries.
    `failing_since` is when it last stopped working. `with_key` adds the license's key to `license.issued`.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_reason"),
        CheckConstraint("NOT with_key OR url LIKE 'https://%'", name="with_key"),
    )

    id: Mapped[Id]
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    with_key: Mapped[bool] = mapped_column(server_default="false")
    sealed_secrets: Mapped[bytes]
    previous_until: Mapped[Time | None]
    created_at: Mapped[CreatedAt]
    paused_at: Mapped[Time | None]
    disabled_at: Mapped[Time | None]
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[Time | None]

    paused = is_set("paused_at")
    disabled = is_set("disabled_at")

    @hybrid_property
    def active(self) -> bool:
        """Whether deliveries are sent to the endpoint."""
        return not (self.paused or self.disabled)

    @active.inplace.expression
    @classmethod
    def _active(cls) -> ColumnElement[bool]:
        return and_(~cls.paused, ~cls.disabled)


class OutboundEvent(Base):
    """Something that happened. `body` is the JSON sent byte for byte in every attempt, but for a license's key in it.

    `invoice_id` and `license_id` link the event to timelines.
    """

    __tablename__ = "outbound_events"
    __table_args__ = (
        Index("ix_outbound_events_created_at", "created_at"),
        Index("ix_outbound_events_invoice_id", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
        Index("ix_outbound_events_license_id", "license_id", postgresql_where=text("license_id IS NOT NULL")),
    )

    id: Mapped[Id]
    event_type: Mapped[str]
    body: Mapped[str]
    invoice_id: Mapped[UUID | None]
    license_id: Mapped[UUID | None]
    created_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """An event for one endpoint: pending with `next_attempt_at`, dead letter without that and `delivered_at`.

    `attempts` is the number of attempts in the current series of ten. A retry starts a new series. The rows of all
    attempts are retained. Another worker may be sending the delivery until `leased_until`.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        CheckConstraint("delivered_at IS NULL OR next_attempt_at IS NULL", name="delivered_at"),
        Index(
            "ix_webhook_deliveries_due",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index(
            "ix_webhook_deliveries_leased",
            "endpoint_id",
            "leased_until",
            postgresql_where=text("leased_until IS NOT NULL"),
        ),
        Index(
            "ix_webhook_deliveries_dead",
            "endpoint_id",
            "id",
            postgresql_where=text("next_attempt_at IS NULL AND delivered_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    event_id: Mapped[UUID] = mapped_column(ForeignKey("outbound_events.id", ondelete="CASCADE"))
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    next_attempt_at: Mapped[Time | None]
    leased_until: Mapped[Time | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    delivered_at: Mapped[Time | None]
    last_error: Mapped[str | None]

    pending = is_set("next_attempt_at")
    delivered = is_set("delivered_at")


class DeliveryAttempt(Base):
    """One attempt: the HTTP status and the first 2,000 bytes of the response, or the error.

    `duration_ms` is the total time.
    """

    __tablename__ = "delivery_attempts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True)
    at: Mapped[CreatedAt]
    status_code: Mapped[int | None]
    answer: Mapped[str | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
