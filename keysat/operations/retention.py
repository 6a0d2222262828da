"""Retention: delete old finished rows in small transactions. Pending rows and the audit log are retained."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, ColumnExpressionArgument, Select, and_, delete, exists, func, select, true
from sqlalchemy.orm import InstrumentedAttribute

from keysat.core.db import Database
from keysat.models import (
    Invoice,
    InvoiceCheck,
    Mail,
    OutboundEvent,
    ProviderEvent,
    RecoveryLink,
    Sweep,
    WebhookDelivery,
)
from keysat.models.columns import seconds
from keysat.webhooks.listen import remove_abandoned

_BATCH = 1_000
_DAY = 86_400


@dataclass(frozen=True)
class _Kind:
    """Rows of one table that may be deleted once they are old enough and `freed`, a condition on other tables, is true.

    `freed` is checked last, for a batch selected without it. Otherwise each batch would join whole tables.
    """

    name: str
    key: InstrumentedAttribute[Any]
    at: InstrumentedAttribute[Any]
    over: ColumnExpressionArgument[bool] = field(default_factory=true)
    freed: ColumnExpressionArgument[bool] = field(default_factory=true)


_DONE = ~WebhookDelivery.pending
_UNTOLD = ~exists().where(WebhookDelivery.event_id == OutboundEvent.id)
_CLOSED = exists().where(Invoice.id == InvoiceCheck.invoice_id, Invoice.next_check_at.is_(None), ~Invoice.in_review)
# The order matters. Deleting deliveries also deletes their attempts, and frees events without other deliveries.
KINDS = (
    _Kind("webhook_deliveries", WebhookDelivery.id, WebhookDelivery.delivered_at, _DONE),
    _Kind("outbound_events", OutboundEvent.id, OutboundEvent.created_at, freed=_UNTOLD),
    _Kind("mails", Mail.id, Mail.ended_at, Mail.finished),
    _Kind("provider_events", ProviderEvent.id, ProviderEvent.received_at, ~ProviderEvent.pending),
    _Kind("invoice_looks", InvoiceCheck.id, InvoiceCheck.at, freed=_CLOSED),
    _Kind("recovery_links", RecoveryLink.id, RecoveryLink.expires_at),
    _Kind("sweeps", Sweep.id, Sweep.finished_at, Sweep.finished),
)


def count_prunable(database: Database, days: int) -> dict[str, int]:
    """Return how many rows of each table `prune` would delete."""
    counts = {}
    with database.reading() as session:
        for kind in KINDS:
            wanted = select(func.count()).select_from(kind.key.class_).where(_old(kind, days), kind.freed)
            counts[kind.name] = session.scalar(wanted) or 0
    return counts


def prune(database: Database, days: int, seconds_left: float = math.inf) -> dict[str, int]:
    """Delete rows that finished more than `days` ago, for about `seconds_left`. Returns the number of rows by table.

    Dead letters, pending rows, and rows that wait for a person are never deleted, regardless of age. Endpoints of
    listeners whose command was killed are removed, too.
    """
    with database.transaction() as session:
        remove_abandoned(session, "prune")
    counts, until = {kind.name: 0 for kind in KINDS}, time.monotonic() + seconds_left
    for kind in KINDS:
        after: object = None
        while True:
            with database.transaction() as session:
                found = session.scalars(_next(kind, days, after)).all()
                # A separate statement sees what was committed before the locks, for example an event's new delivery.
                counts[kind.name] += len(
                    session.scalars(
                        delete(kind.key.class_)
                        .where(kind.key.in_(found), _old(kind, days), kind.freed)
                        .returning(kind.key)
                    ).all()
                )
            if len(found) < _BATCH or time.monotonic() > until:
                break
            after = found[-1]
    return counts


def _next(kind: _Kind, days: int, after: object) -> Select[Any]:
    """Select and lock the next rows by key, so that none becomes pending again. Rows locked elsewhere are skipped."""
    more = true() if after is None else kind.key > after
    some = select(kind.key).where(_old(kind, days), more).order_by(kind.key).limit(_BATCH)
    return some.with_for_update(of=kind.key.class_, skip_locked=True)


def _old(kind: _Kind, days: int) -> ColumnElement[bool]:
    return and_(kind.at < func.now() - seconds(days * _DAY), kind.over)
