"""The status list that was issued last, for every web process to serve."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Time


class StatusList(Base):
    """A signed list of what changed since keys were issued. Only the newest is kept.

    `sequence` counts the lists. `epoch` comes before it in their order, because a restored database counts again what
    was counted before. `digest` is the SHA-256 of the entries, of which there are `entries`. At `checked_at` they were
    last compared with the licenses. NULL is due.
    """

    __tablename__ = "status_lists"
    __table_args__ = (
        CheckConstraint("octet_length(digest) = 32", name="digest"),
        CheckConstraint("expires_at > issued_at", name="expires_at"),
    )

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    entries: Mapped[int]
    issued_at: Mapped[Time]
    expires_at: Mapped[Time]
    checked_at: Mapped[Time | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[str] = mapped_column(Text)
