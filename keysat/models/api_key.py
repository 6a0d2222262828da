"""API keys: who may use the admin API."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, and_, or_
from sqlalchemy.ext.hybrid import hybrid_method
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, enum_column, is_set, one_of


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
    scope: Mapped[Scope] = enum_column(Scope)
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]
    last_used_at: Mapped[Time | None]

    revoked = is_set("revoked_at")

    @hybrid_method
    def usable(self, now: Any) -> bool:
        """Whether the key is neither revoked nor expired. `now` is the database's time, in SQL func.now()."""
        return not self.revoked and (self.expires_at is None or self.expires_at > now)

    @usable.expression
    @classmethod
    def _usable(cls, now: Any) -> ColumnElement[bool]:
        return and_(~cls.revoked, or_(cls.expires_at.is_(None), cls.expires_at > now))
