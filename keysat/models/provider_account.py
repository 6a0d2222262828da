"""Provider accounts: one store at one payment provider, with its credentials and its health."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, and_, func, or_
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time

# No rest is longer. One that ends later was written by a clock that was wrong.
MAX_REST = timedelta(hours=1)
# So many failed calls in a row open a circuit breaker.
FAILURES_TO_OPEN = 5


class ProviderAccount(Base):
    """`sealed_credentials` is a Fernet token over {"api_key": ..., "webhook_secret": ...}.

    `failure_count` and `open_until` are the state of the circuit breaker for reads, shared by all workers;
    `failed_invoice_id` is the invoice whose read failed last, since failures count only of different ones. The columns
    that begin with `create_` are the same for creating invoices. `recheck_at` is when credentials that were rejected
    are checked again, which resumes the account when they pass. `selling_rank`: 1 sells, 2 and up are asked where those
    before can't; NULL sells only what names it. `is_sandbox`: its coins are pretended. `ca_pem` holds certificates of
    authorities that are trusted beside the system's. `last_event_at` is when a
    genuine webhook last arrived; `webhook_connected_at` when it was registered, or first seen to arrive. `kind` names
    an adapter of `keysat.providers.registry`; it has no constraint here, so that a new adapter needs no migration.
    """

    __tablename__ = "provider_accounts"
    __table_args__ = (
        CheckConstraint("failure_count >= 0", name="failure_count"),
        CheckConstraint("create_failure_count >= 0", name="create_failure_count"),
        CheckConstraint("recheck_at IS NULL OR paused_at IS NOT NULL", name="recheck_at"),
    )

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
    failed_invoice_id: Mapped[UUID | None]
    create_failure_count: Mapped[int] = mapped_column(server_default="0")
    create_open_until: Mapped[Time | None]
    create_last_error: Mapped[str | None]
    recheck_at: Mapped[Time | None]
    recheck_count: Mapped[int] = mapped_column(server_default="0")
    selling_rank: Mapped[int | None] = mapped_column(unique=True)
    is_sandbox: Mapped[bool] = mapped_column(server_default="false")
    ca_pem: Mapped[str | None]
    webhook_connected_at: Mapped[Time | None]
    last_event_at: Mapped[Time | None]


def breaker_open() -> ColumnElement[bool]:
    """The condition that the circuit breaker keeps an account from being asked about invoices."""
    return _lies_ahead(ProviderAccount.open_until)


def create_breaker_open() -> ColumnElement[bool]:
    """The condition that the circuit breaker keeps an account from being asked for new invoices."""
    return _lies_ahead(ProviderAccount.create_open_until)


def _lies_ahead(until: InstrumentedAttribute[datetime | None]) -> ColumnElement[bool]:
    return func.coalesce(and_(until > func.now(), until <= func.now() + MAX_REST), False)


def resting() -> ColumnElement[bool]:
    """The condition that an account isn't called now: it is paused, or its breaker is open."""
    return or_(ProviderAccount.paused_at.is_not(None), breaker_open())
