"""API keys: who may use the admin API."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, one_of


class Scope(StrEnum):
    """What a key allows; who may write may read."""

    READ = "read"
    WRITE = "write"


class ApiKey(Base):
    """`key_hash` is the SHA-256 of the key, which is shown once and stored nowhere; it holds 32 random bytes."""

    __tablename__ = "api_keys"
    __table_args__ = (one_of("scope", Scope), CheckConstraint("octet_length(key_hash) = 32", name="key_hash"))

    id: Mapped[Id]
    name: Mapped[str]
    scope: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]
    last_used_at: Mapped[Time | None]
