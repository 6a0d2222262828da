"""The append-only audit log: who changed what, when and why."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from keysat.core.db import Base
from keysat.models.columns import CreatedAt


class AuditLine(Base):
    """`action` is noun.verb, for example `invoice.settled`. `subject_id` is the changed row. `detail` has the facts."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[CreatedAt]
    actor: Mapped[str]
    action: Mapped[str]
    subject_id: Mapped[UUID] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")


def audit(session: Session, actor: str, action: str, subject_id: UUID, **detail: object) -> None:
    """Write an audit line in the transaction of the change. Facts that are None are omitted."""
    facts = {name: value for name, value in detail.items() if value is not None}
    session.add(AuditLine(actor=actor, action=action, subject_id=subject_id, detail=facts))
