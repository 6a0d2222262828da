"""Admin routes for subscriptions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import NotFound
from keysat.models import Invoice
from keysat.sales.renew import renew
from keysat.subscriptions.terms import ListedSubscription, SubscriptionStatus, cancel_subscription, list_subscriptions
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Before, Limit, Note, Row
from keysat.web.bulkhead import provider_place
from keysat.web.errors import documented
from keysat.web.purchase import Started, started
from keysat.web.tokens import page_of

router = APIRouter(prefix="/subscriptions", tags=["admin: subscriptions"])

LicenseId = Annotated[UUID, Path(description="The license's id.")]


class SubscriptionRow(Row):
    """The terms on which a license is renewed. `amount` is in the smallest unit of `currency`."""

    id: UUID
    license_id: UUID
    product: str
    policy_id: UUID
    status: SubscriptionStatus
    period_seconds: int
    amount: int
    currency: str
    started_at: datetime
    expires_at: datetime | None
    cancelled_at: datetime | None


@router.get("", responses=documented())
def search_subscriptions(
    _: Reader, status: SubscriptionStatus | None = None, limit: Limit = 50, before: Before = None
) -> list[SubscriptionRow]:
    """Find subscriptions, newest first."""
    with reading() as session:
        return [_row(found) for found in list_subscriptions(session, status, limit, before)]


@router.get("/{license_id}", responses=documented(404))
def get_subscription(license_id: LicenseId, _: Reader) -> SubscriptionRow:
    """Get the subscription of a license."""
    with reading() as session:
        return _of_license(license_id, list_subscriptions(session, None, 1, license_id=license_id))


@router.post(
    "/{license_id}/renew",
    responses=documented(404, 409, 502),
    dependencies=[Depends(provider_place)],
    response_model_exclude_none=True,
)
def open_renewal(license_id: LicenseId, actor: Writer) -> Started:
    """Open the invoice for a license's next period, or get the one that can be paid."""
    invoice_id = renew(DATABASE, license_id, actor, page_of)
    with reading() as session:
        return started(session.get_one(Invoice, invoice_id), invoice_id)


@router.post("/{license_id}/cancel", responses=documented(404, 409))
def end_subscription(license_id: LicenseId, body: Note, actor: Writer) -> SubscriptionRow:
    """Cancel a subscription. Its license lasts to its end."""
    with transaction() as session:
        cancel_subscription(session, license_id, actor, body.note)
        return _of_license(license_id, list_subscriptions(session, None, 1, license_id=license_id))


def _of_license(license_id: UUID, found: list[ListedSubscription]) -> SubscriptionRow:
    if not found:
        raise NotFound("subscription of license", license_id)
    return _row(found[0])


def _row(found: ListedSubscription) -> SubscriptionRow:
    subscription, row = found.subscription, found.license
    return SubscriptionRow(
        id=subscription.id,
        license_id=row.id,
        product=found.product,
        policy_id=row.policy_id,
        status=found.status,
        period_seconds=subscription.period_seconds,
        amount=subscription.amount,
        currency=subscription.currency,
        started_at=subscription.started_at,
        expires_at=row.expires_at,
        cancelled_at=subscription.cancelled_at,
    )
