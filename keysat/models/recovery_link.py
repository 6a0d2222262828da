"""Recovery links: a secret, sent to a mailbox, that shows the licenses of that address once."""

from __future__ import annotations

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time


class RecoveryLink(Base):
    """A link for the e-mail address `email`, in lower case. `secret_hash` is the SHA-256 of its secret."""

    __tablename__ = "recovery_links"
    __table_args__ = (CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash"),)

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(index=True)
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Time]
    used_at: Mapped[Time | None]
