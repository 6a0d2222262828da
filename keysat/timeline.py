"""What happened to an invoice, in order: its audit lines, its license's and its code's, and the webhooks about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from keysat.models import AuditLine, Invoice, License, ProviderEvent, Redemption

_MOST = 1_000


@dataclass(frozen=True)
class Moment:
    """One thing that happened; `subject_id` is the row it happened to."""

    at: datetime
    actor: str
    action: str
    subject_id: UUID
    detail: dict[str, Any]


def timeline(session: Session, invoice: Invoice) -> list[Moment]:
    """The last thousand things that happened to an invoice, oldest first."""
    subjects = [invoice.id]
    for table in (License, Redemption):
        subjects += session.scalars(select(table.id).where(table.invoice_id == invoice.id))
    lines = audit_lines(session, subjects, _MOST)
    moments = [Moment(line.at, line.actor, line.action, line.subject_id, line.detail) for line in lines]
    moments += _webhooks(session, invoice)
    return sorted(moments, key=lambda moment: moment.at)[-_MOST:]


def audit_lines(
    session: Session, subjects: list[UUID] | None, limit: int, before: int | None = None
) -> list[AuditLine]:
    """The newest audit lines of some rows, or of all, that are older than the line `before`; newest first."""
    wanted = select(AuditLine).order_by(AuditLine.id.desc()).limit(limit)
    if subjects is not None:
        wanted = wanted.where(AuditLine.subject_id.in_(subjects))
    if before is not None:
        wanted = wanted.where(AuditLine.id < before)
    return list(session.scalars(wanted))


def _webhooks(session: Session, invoice: Invoice) -> list[Moment]:
    if invoice.provider_invoice_id is None:
        return []
    about = and_(
        ProviderEvent.provider_account_id == invoice.provider_account_id,
        ProviderEvent.provider_invoice_id == invoice.provider_invoice_id,
    )
    events = session.scalars(select(ProviderEvent).where(about).order_by(ProviderEvent.id.desc()).limit(_MOST))
    return [
        Moment(
            event.received_at,
            "provider",
            "webhook.received",
            event.id,
            {"kind": event.kind, "handled_at": event.handled_at and event.handled_at.isoformat()},
        )
        for event in events
    ]
