"""API keys: who may use the admin API."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, one_of


class Scope(StrEnum):
    """What a key allows. `write` includes `read`."""

    READ = "read"
    WRITE = "write"


class ApiKey(Base):
    """`key_hash` is the SHA-256 of the key. The key has 32 random bytes, is shown once and is never stored."""

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
