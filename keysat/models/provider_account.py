"""Provider accounts: a store at a payment provider, with its credentials and health."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, and_, func, or_
from sqlalchemy.ext.hybrid import hybrid_method
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, is_set

# Max time that a breaker stays open. A later `open_until` was written by a wrong clock and is ignored.
MAX_REST = timedelta(hours=1)
# Number of consecutive failed calls that opens a circuit breaker.
FAILURES_TO_OPEN = 5


class ProviderAccount(Base):
    """`sealed_credentials` is a Fernet token over {"api_key": ..., "webhook_secret": ...}.

    `failure_count` and `open_until` are the state of the circuit breaker for reads, shared by all workers.
    `failed_invoice_id` is the invoice whose read failed last: repeated failures of one invoice add nothing to
    `failure_count`. The columns with the prefix `create_` are the same for creating invoices. `recheck_at` is when
    rejected credentials are checked again. If they pass, the account resumes.

    The account with `selling_rank` 1 sells, and higher ranks are fallbacks. NULL sells only products that name the
    account. Coins of an account with `is_sandbox` are not real. `ca_pem` contains CA certificates that are trusted in
    addition to the system's. `last_event_at` is when an authentic webhook was last received. `webhook_connected_at` is
    when the webhook was registered or first received. `kind` names an adapter of `keysat.providers.registry`. It has
    no constraint here, so a new adapter needs no migration.
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

    paused = is_set("paused_at")
    rejected = is_set("recheck_at")

    @hybrid_method
    def breaker_open(self, now: Any) -> bool:
        """Whether the circuit breaker for reads is open. `now` is the database's time, in SQL func.now()."""
        return self.open_until is not None and now < self.open_until <= now + MAX_REST

    @breaker_open.expression
    @classmethod
    def _breaker_open(cls, now: Any) -> ColumnElement[bool]:
        return func.coalesce(and_(cls.open_until > now, cls.open_until <= now + MAX_REST), False)

    @hybrid_method
    def create_breaker_open(self, now: Any) -> bool:
        """Whether the circuit breaker for creating invoices is open."""
        return self.create_open_until is not None and now < self.create_open_until <= now + MAX_REST

    @create_breaker_open.expression
    @classmethod
    def _create_breaker_open(cls, now: Any) -> ColumnElement[bool]:
        return func.coalesce(and_(cls.create_open_until > now, cls.create_open_until <= now + MAX_REST), False)

    def failed_within(self, span: timedelta, now: datetime) -> bool:
        """Whether a breaker is open, or was within this span and no call succeeded since."""
        reads = self.failure_count >= FAILURES_TO_OPEN and _lately(self.open_until, span, now)
        return reads or (self.create_failure_count >= FAILURES_TO_OPEN and _lately(self.create_open_until, span, now))

    @hybrid_method
    def resting(self, now: Any) -> bool:
        """Whether the account must not be called now: it is paused or its breaker for reads is open."""
        return self.paused or self.breaker_open(now)

    @resting.expression
    @classmethod
    def _resting(cls, now: Any) -> ColumnElement[bool]:
        return or_(cls.paused, cls.breaker_open(now))


def _lately(until: datetime | None, span: timedelta, now: datetime) -> bool:
    return until is not None and now - span < until <= now + MAX_REST
