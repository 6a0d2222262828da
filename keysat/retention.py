"""Retention: what is over and old is deleted, in small transactions. What is owed stays, and so does the audit log."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute

from keysat.db import Begin
from keysat.models import Invoice, InvoiceLook, OutboundEvent, ProviderEvent, Sweep, WebhookDelivery
from keysat.models.columns import seconds

_BATCH = 1_000
_DAY = 86_400


@dataclass(frozen=True)
class _Kind:
    """Rows of one table that may go once they are older than a time."""

    name: str
    key: InstrumentedAttribute[Any]
    at: InstrumentedAttribute[Any]
    over: ColumnElement[bool]


_DONE = WebhookDelivery.next_attempt_at.is_(None)
_UNTOLD = ~exists().where(WebhookDelivery.event_id == OutboundEvent.id)
_CLOSED = exists().where(Invoice.id == InvoiceLook.invoice_id, Invoice.next_check_at.is_(None))
# In this order: a delivery takes its attempts along, and leaves an event that nobody is owed any more.
KINDS = (
    _Kind("webhook_deliveries", WebhookDelivery.id, WebhookDelivery.delivered_at, _DONE),
    _Kind("outbound_events", OutboundEvent.id, OutboundEvent.created_at, _UNTOLD),
    _Kind("provider_events", ProviderEvent.id, ProviderEvent.received_at, ProviderEvent.next_attempt_at.is_(None)),
    _Kind("invoice_looks", InvoiceLook.id, InvoiceLook.at, _CLOSED),
    _Kind("sweeps", Sweep.id, Sweep.finished_at, Sweep.finished_at.is_not(None)),
)


def count_prunable(read: Begin, days: int) -> dict[str, int]:
    """How many rows of each table `prune` would delete."""
    counts = {}
    with read() as session:
        for kind in KINDS:
            wanted = select(func.count()).select_from(kind.key.class_).where(_old(kind, days))
            counts[kind.name] = session.scalar(wanted) or 0
    return counts


def prune(begin: Begin, days: int, seconds_left: float = math.inf) -> dict[str, int]:
    """Delete what has been over for so many days, for so many seconds; returns how many rows of each table.

    Dead letters, and whatever is owed still, stay whatever their age.
    """
    counts, until = {kind.name: 0 for kind in KINDS}, time.monotonic() + seconds_left
    for kind in KINDS:
        some = select(kind.key).where(_old(kind, days)).limit(_BATCH)
        while True:
            with begin() as session:
                gone = session.scalars(
                    delete(kind.key.class_)
                    .where(kind.key.in_(some))
                    .returning(kind.key)
                    .execution_options(synchronize_session=False)
                ).all()
            counts[kind.name] += len(gone)
            if len(gone) < _BATCH or time.monotonic() > until:
                break
    return counts


def _old(kind: _Kind, days: int) -> ColumnElement[bool]:
    return and_(kind.at < func.now() - seconds(days * _DAY), kind.over)
