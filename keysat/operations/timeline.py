"""The history of an invoice: checks, decisions, received and sent webhooks, and manual actions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from keysat.models import (
    AuditLine,
    DeliveryAttempt,
    Invoice,
    InvoiceCheck,
    License,
    Mail,
    OutboundEvent,
    ProviderEvent,
    Redemption,
    Tip,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.columns import newest

_MAX_ROWS = 1_000


@dataclass(frozen=True)
class Moment:
    """One thing that happened. `subject_id` is the affected row."""

    at: datetime
    actor: str
    action: str
    subject_id: UUID
    detail: dict[str, Any]


def timeline(session: Session, invoice: Invoice) -> list[Moment]:
    """Return the last thousand moments of an invoice, oldest first."""
    subjects = [invoice.id]
    for table in (License, Redemption, Tip, Mail):
        subjects += session.scalars(select(table.id).where(table.invoice_id == invoice.id))
    decisions = [
        Moment(line.at, line.actor, line.action, line.subject_id, line.detail)
        for line in audit_lines(session, subjects, _MAX_ROWS)
    ]
    # The sort is stable, so for equal times causes precede effects.
    moments = [
        *_webhooks(session, invoice),
        *_checks(session, invoice),
        *decisions,
        *_deliveries(session, invoice),
        *_mails(session, invoice),
    ]
    return sorted(moments, key=lambda moment: moment.at)[-_MAX_ROWS:]


def audit_lines(
    session: Session, subjects: list[UUID] | None, limit: int, before: int | None = None
) -> list[AuditLine]:
    """Return the newest audit lines of some rows, or of all, that are older than the line `before`. Newest first."""
    wanted = select(AuditLine) if subjects is None else select(AuditLine).where(AuditLine.subject_id.in_(subjects))
    return list(session.scalars(newest(wanted, AuditLine.id, limit, before)))


def _checks(session: Session, invoice: Invoice) -> list[Moment]:
    """Return the provider readings, each with the number of scheduled checks until the reading changed."""
    rows = session.scalars(
        newest(select(InvoiceCheck).where(InvoiceCheck.invoice_id == invoice.id), InvoiceCheck.id, _MAX_ROWS)
    ).all()[::-1]
    counts = [*(row.check_count for row in rows[1:]), invoice.check_count]
    return [
        Moment(
            row.at,
            row.actor,
            "invoice.looked",
            invoice.id,
            {"provider_status": row.provider_status, "led_to": row.outcome, "checks": max(1, until - row.check_count)},
        )
        for row, until in zip(rows, counts, strict=False)
    ]


def _webhooks(session: Session, invoice: Invoice) -> list[Moment]:
    if invoice.provider_invoice_id is None:
        return []
    about = and_(
        ProviderEvent.provider_account_id == invoice.provider_account_id,
        ProviderEvent.provider_invoice_id == invoice.provider_invoice_id,
    )
    events = session.scalars(newest(select(ProviderEvent).where(about), ProviderEvent.id, _MAX_ROWS))
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


def _mails(session: Session, invoice: Invoice) -> list[Moment]:
    """Return when each mail became pending, and what came of it. A server's reply may contain the address."""
    rows = session.scalars(select(Mail).where(Mail.invoice_id == invoice.id).order_by(Mail.id)).all()
    moments = [Moment(row.created_at, "mail", "mail.pending", row.id, {"kind": row.kind}) for row in rows]
    for row in rows:
        outcome = row.answer or row.last_error
        detail = {"kind": row.kind, "attempts": row.attempts, "came_of_it": outcome}
        if row.ended_at is not None:
            moments.append(Moment(row.ended_at, "mail", f"mail.{row.status}", row.id, detail))
        elif outcome is not None and row.next_attempt_at is not None:
            detail |= {"next_attempt_at": row.next_attempt_at.isoformat()}
            moments.append(Moment(row.pending_since, "mail", "mail.waits", row.id, detail))
    return moments


def _deliveries(session: Session, invoice: Invoice) -> list[Moment]:
    """Return the webhook delivery attempts about the invoice or its license."""
    owned = select(License.id).where(License.invoice_id == invoice.id)
    about = or_(OutboundEvent.invoice_id == invoice.id, OutboundEvent.license_id.in_(owned))
    rows = session.execute(
        select(DeliveryAttempt, WebhookEndpoint.name, OutboundEvent.event_type)
        .join(WebhookDelivery, WebhookDelivery.id == DeliveryAttempt.delivery_id)
        .join(OutboundEvent, OutboundEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(about)
        .order_by(DeliveryAttempt.id.desc())
        .limit(_MAX_ROWS)
    )
    return [
        Moment(
            attempt.at,
            "deliver",
            "webhook.sent",
            attempt.delivery_id,
            {
                "event": event_type,
                "endpoint": endpoint,
                "came_of_it": attempt.error or f"answered {attempt.status_code}",
            },
        )
        for attempt, endpoint, event_type in rows
    ]
