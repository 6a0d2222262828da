"""Listen to events from a shell, by an endpoint that takes its deliveries itself and lasts as long as its command.

The endpoint is paused, so no sender attempts its deliveries. `paused_at` is when its command last took some or
forwarded one. One that did neither for a while belongs to a command that was killed, and is removed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.models import OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.net.addresses import Networks
from keysat.webhooks.endpoints import add_endpoint, remove_endpoint

ABANDONED_AFTER = timedelta(minutes=5)
# The operator names the address in a shell, so it may be on any network.
ANYWHERE = Networks.parse("0.0.0.0/0,::/0")
_PREFIX = "listen-"
_NOWHERE = "https://listen.invalid/"


@dataclass(frozen=True)
class TakenDelivery:
    """A delivery that its listener took, which counts as delivered."""

    delivery_id: UUID
    event_type: str
    body: bytes


def open_listener(
    session: Session, box: MultiFernet, event_types: Sequence[str], secret: str, actor: str
) -> tuple[WebhookEndpoint, str]:
    """Store a listener. Return it with its secret, which is generated if empty. Abandoned listeners are removed.

    Raises:
        InvalidInput: an event type or the secret is invalid.
    """
    remove_abandoned(session, actor)
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    endpoint, secret = add_endpoint(session, box, name, _NOWHERE, event_types, secret=secret, actor=actor)
    endpoint.paused_at = func.now()
    session.flush()
    return endpoint, secret


def take_deliveries(session: Session, name: str) -> list[TakenDelivery]:
    """Return the listener's new deliveries, oldest first, and mark them as delivered.

    Raises:
        NotFound: the listener was removed.
    """
    endpoint_id = keep_listener(session, name)
    if endpoint_id is None:
        raise NotFound("listener", f"{name} any more; start the command again")
    rows = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.pending)
        .where(OutboundEvent.id == WebhookDelivery.event_id)
        .values(next_attempt_at=None, delivered_at=func.now(), attempts=1)
        .returning(WebhookDelivery.id, OutboundEvent.event_type, OutboundEvent.body)
    ).all()
    found = [TakenDelivery(row.id, row.event_type, row.body.encode()) for row in rows]
    return sorted(found, key=lambda delivery: delivery.delivery_id)


def keep_listener(session: Session, name: str) -> UUID | None:
    """Record that a listener's command runs. Return the endpoint's id, or None if it was removed."""
    kept = update(WebhookEndpoint).where(WebhookEndpoint.name == name).values(paused_at=func.now())
    return session.scalar(kept.returning(WebhookEndpoint.id))


def close_listener(session: Session, name: str, actor: str) -> None:
    """Remove a listener, unless it was removed before."""
    with suppress(NotFound):
        remove_endpoint(session, name, actor)


def remove_abandoned(session: Session, actor: str) -> None:
    """Remove listeners whose command was killed."""
    abandoned = WebhookEndpoint.paused_at < func.now() - ABANDONED_AFTER
    listeners = select(WebhookEndpoint.name).where(WebhookEndpoint.name.startswith(_PREFIX), abandoned)
    for name in session.scalars(listeners.where(WebhookEndpoint.url == _NOWHERE)).all():
        remove_endpoint(session, name, actor)
