"""Mail to buyers: each row is one message, pending until a server took it."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt, Id, Time, enum_column, one_of


class MailKind(StrEnum):
    """What a message is about."""

    RECEIPT = "receipt"
    SEEN = "seen"
    SHORT = "short"
    REVERSED = "reversed"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    RESTORED = "restored"
    RECOVERY = "recovery"
    RENEWED = "renewed"
    ROTATED = "rotated"
    TRANSFERRED = "transferred"
    EXPIRING = "expiring"
    EXPIRED = "expired"


class MailStatus(StrEnum):
    """The status of a message. `failed` is a dead letter. A `dropped` one wasn't true any more, or a person did it."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


class Mail(Base):
    """A message. `subject_id` is what it is about: a license, an invoice, a recovery link or a change of a license.

    `license_id` is the license of such a change. It stores no license key. `sealed_message` is a Fernet token of the
    bytes that were made at the first attempt, so that each further attempt sends the same. `sealed_link` is one of the
    link's path, which only a recovery has. Both are deleted once the message was sent or dropped. `facts_hash` is the
    SHA-256 of the facts that bytes were made from, and NULL until then. `message_id` is the Message-ID of those bytes
    alone. `useful_until` is when the message is dropped. `pending_since` is when it became pending, also by a retry.
    Another worker may be sending it until `leased_until`. `answer` is the server's reply that took it.
    """

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        UniqueConstraint("message_id"),
        one_of("kind", MailKind),
        one_of("status", MailStatus),
        CheckConstraint("(status = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt_at"),
        CheckConstraint("(status = 'pending') = (ended_at IS NULL)", name="ended_at"),
        CheckConstraint(
            "status NOT IN ('sent', 'dropped') OR (sealed_message IS NULL AND sealed_link IS NULL)",
            name="sealed_message",
        ),
        Index("ix_mails_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
        Index("ix_mails_leased", "leased_until", postgresql_where=text("leased_until IS NOT NULL")),
        Index("ix_mails_failed", "ended_at", postgresql_where=text("status = 'failed'")),
        Index("ix_mails_license_id", "license_id", postgresql_where=text("license_id IS NOT NULL")),
        Index("ix_mails_invoice_id", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
    )

    id: Mapped[Id]
    kind: Mapped[MailKind] = enum_column(MailKind)
    subject_id: Mapped[UUID]
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"))
    recipient: Mapped[str]
    language: Mapped[str]
    message_id: Mapped[str]
    sealed_link: Mapped[bytes | None]
    sealed_message: Mapped[bytes | None]
    facts_hash: Mapped[bytes | None]
    useful_until: Mapped[Time | None]
    status: Mapped[MailStatus] = enum_column(MailStatus, MailStatus.PENDING)
    created_at: Mapped[CreatedAt]
    pending_since: Mapped[Time] = mapped_column(server_default=func.now())
    next_attempt_at: Mapped[Time | None]
    leased_until: Mapped[Time | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    ended_at: Mapped[Time | None]
    answer: Mapped[str | None]
    last_error: Mapped[str | None]

    @hybrid_property
    def finished(self) -> bool:
        """Whether it was sent or dropped, so that nobody waits for it."""
        return self.status in {MailStatus.SENT, MailStatus.DROPPED}

    @finished.inplace.expression
    @classmethod
    def _finished(cls) -> ColumnElement[bool]:
        return cls.status.in_([MailStatus.SENT, MailStatus.DROPPED])
