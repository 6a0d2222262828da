"""Provider accounts: one store at one payment provider, with its credentials and its health."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import CheckConstraint, ColumnElement, and_, func, or_
from sqlalchemy.orm import Mapped, mapped_column

from keysat.db import Base
from keysat.models.columns import CreatedAt, Id, Time

# No rest is longer. One that ends later was written by a clock that was wrong.
MAX_REST = timedelta(hours=1)


class ProviderAccount(Base):
    """`sealed_credentials` is a Fernet token over {"api_key": ..., "webhook_secret": ...}.

    `failure_count` and `open_until` are the circuit breaker's state, shared by all workers. `last_event_at` is when a
    genuine webhook last arrived; `webhook_connected_at` when it was registered, or first seen to arrive. `kind` names
    an adapter of `keysat.providers.registry`; it has no constraint here, so that a new adapter needs no migration.
    """

    __tablename__ = "provider_accounts"
    __table_args__ = (CheckConstraint("failure_count >= 0", name="failure_count"),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    base_url: Mapped[str]
    store_id: Mapped[str]
    sealed_credentials: Mapped[bytes]
    created_at: Mapped[CreatedAt]
    paused_at: Mapped[Time | None]
    pause_reason: Mapped[str | None]
    failure_count: Mapped[int] = mapped_column(server_default="0")
    open_until: Mapped[Time | None]
    last_error: Mapped[str | None]
    webhook_connected_at: Mapped[Time | None]
    last_event_at: Mapped[Time | None]


def breaker_open() -> ColumnElement[bool]:
    """The condition that the circuit breaker keeps an account from being called."""
    until = ProviderAccount.open_until
    return func.coalesce(and_(until > func.now(), until <= func.now() + MAX_REST), False)


def resting() -> ColumnElement[bool]:
    """The condition that an account isn't called now: it is paused, or its breaker is open."""
    return or_(ProviderAccount.paused_at.is_not(None), breaker_open())
