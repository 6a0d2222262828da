"""Events for the operator's receivers, written with their deliveries in the transaction of the change they report.

Nothing is sent here. A delivery is a row that is pending at once. `keysat.webhooks` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import case, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.models import (
    Invoice,
    License,
    Machine,
    OutboundEvent,
    Policy,
    Product,
    Subscription,
    WebhookDelivery,
    WebhookEndpoint,
)

# The address of a license's holder, from the license and the invoice that it was sold with.
_HOLDER = case(
    (License.transferred_at.is_(None), func.coalesce(License.holder_email, Invoice.buyer_email)),
    else_=License.holder_email,
).label("email")
# The key in a session's `info` of the deliveries that its transaction wrote, so that they can be sent at once.
DELIVERIES = "deliveries"


class EventType(StrEnum):
    """The event types. Their names are part of the contract with existing receivers."""

    LICENSE_ISSUED = "license.issued"
    LICENSE_CHANGED = "license.changed"
    LICENSE_REVOKED = "license.revoked"
    LICENSE_SUSPENDED = "license.suspended"
    LICENSE_UNSUSPENDED = "license.unsuspended"
    LICENSE_EXPIRING_SOON = "license.expiring_soon"
    LICENSE_EXPIRED = "license.expired"
    SUBSCRIPTION_RENEWED = "subscription.renewed"
    SUBSCRIPTION_CANCELLED = "subscription.cancelled"
    INVOICE_SETTLED = "invoice.settled"
    INVOICE_EXPIRED = "invoice.expired"
    INVOICE_INVALID = "invoice.invalid"
    INVOICE_REVIEW_NEEDED = "invoice.review_needed"
    CODE_REDEEMED = "code.redeemed"
    MACHINE_ACTIVATED = "machine.activated"
    MACHINE_DEACTIVATED = "machine.deactivated"
    TIP_SENT = "tip.sent"
    TIP_FAILED = "tip.failed"
    ENDPOINT_DISABLED = "endpoint.disabled"


# Endpoints that ask for it get the license's key with these.
WITH_KEY = frozenset({EventType.LICENSE_ISSUED, EventType.SUBSCRIPTION_RENEWED})


def emit(
    session: Session,
    event_type: EventType,
    data: Mapping[str, object],
    *,
    invoice_id: UUID | None = None,
    license_id: UUID | None = None,
) -> None:
    """Write an event and a delivery for each subscribed endpoint, or nothing if there is none.

    `data` must be JSON, except for ids and times, which become text. It must contain no secrets and no license keys.
    """
    wants = or_(
        func.cardinality(WebhookEndpoint.event_types) == 0, WebhookEndpoint.event_types.contains([event_type.value])
    )
    subscribed = select(WebhookEndpoint.id).where(~WebhookEndpoint.disabled, wants)
    # Locked, so that a concurrent removal of an endpoint doesn't fail this transaction.
    endpoints = session.scalars(subscribed.with_for_update(read=True, key_share=True)).all()
    if not endpoints:
        return
    event = OutboundEvent(
        id=uuid7(),
        event_type=event_type,
        body=_body(event_type, data),
        invoice_id=invoice_id,
        license_id=license_id,
    )
    session.add(event)
    session.flush()
    deliveries = [
        {"id": uuid7(), "event_id": event.id, "endpoint_id": endpoint, "next_attempt_at": func.now()}
        for endpoint in endpoints
    ]
    session.execute(insert(WebhookDelivery).values(deliveries))
    session.info.setdefault(DELIVERIES, []).extend(delivery["id"] for delivery in deliveries)


def emit_invoice(session: Session, event_type: EventType, invoice_id: UUID) -> None:
    """Write an event about an invoice in its current state. Amounts are in the smallest unit of its currency.

    `rest_of_id` is the invoice whose missing part this one charges, or None. `rest_paid` is what such invoices brought
    in for this one.
    """
    columns = (
        *(Invoice.product_id, Invoice.policy_id, Invoice.status, Invoice.exception, Invoice.amount, Invoice.currency),
        *(Invoice.paid_amount, Invoice.settled_at, Invoice.review_reason),
        *(Invoice.rest_of_id, Invoice.rest_paid),
    )
    row = session.execute(select(*columns).where(Invoice.id == invoice_id)).one()
    emit(session, event_type, {"invoice_id": invoice_id, **row._asdict()}, invoice_id=invoice_id)


def emit_license(session: Session, event_type: EventType, license_id: UUID) -> None:
    """Write an event about a license in its current state, without the key. No `expires_at` means perpetual.

    `email` is the holder's, if known. `amount` is the price of its invoice, in the smallest unit of `currency`.
    """
    columns = (
        *(License.product_id, License.invoice_id, License.policy_id, License.is_trial, License.expires_at),
        *(License.entitlements, License.source, License.status),
        *(Product.slug.label("product_slug"), Policy.slug.label("policy_slug"), Invoice.amount, Invoice.currency),
        _HOLDER,
    )
    found = select(*columns).select_from(License).join(Product, Product.id == License.product_id)
    found = found.join(Policy, Policy.id == License.policy_id).outerjoin(Invoice, Invoice.id == License.invoice_id)
    row = session.execute(found.where(License.id == license_id)).one()
    facts = {"license_id": license_id, **row._asdict()}
    emit(session, event_type, facts, invoice_id=row.invoice_id, license_id=license_id)


def emit_subscription(
    session: Session, event_type: EventType, license_id: UUID, invoice_id: UUID | None = None
) -> None:
    """Write an event about a license's subscription in its current state, without the key.

    `invoice_id` is the renewal's. `amount` is the price of a renewal in the smallest unit of `currency`, and
    `amount_sats` the same in sat, or 0 in another currency. `status` is the license's.
    """
    columns = (
        *(Subscription.id.label("subscription_id"), License.product_id, Product.slug.label("product_slug")),
        *(License.policy_id, Subscription.amount, Subscription.currency, Subscription.period_seconds),
        *(case((Subscription.currency == "BTC", Subscription.amount), else_=0).label("amount_sats"),),
        *(License.expires_at, License.status, _HOLDER),
    )
    found = select(*columns).select_from(Subscription).join(License, License.id == Subscription.license_id)
    found = found.join(Product, Product.id == License.product_id)
    found = found.outerjoin(Invoice, Invoice.id == License.invoice_id).where(License.id == license_id)
    facts = session.execute(found).one()._asdict()
    about = {"license_id": license_id, "invoice_id": invoice_id, **facts}
    emit(session, event_type, about, invoice_id=invoice_id, license_id=license_id)


def emit_machine(session: Session, event_type: EventType, machine_id: UUID) -> None:
    """Write an event about a machine in its current state."""
    columns = (Machine.license_id, Machine.hostname, Machine.platform, Machine.deactivation_reason.label("reason"))
    row = session.execute(select(*columns).where(Machine.id == machine_id)).one()
    emit(session, event_type, {"machine_id": machine_id, **row._asdict()}, license_id=row.license_id)


def _body(event_type: EventType, data: Mapping[str, object]) -> str:
    envelope = {"event_type": event_type, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    return json.dumps(envelope, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in an event")
