"""Start a subscription with a license, and cancel it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, require
from keysat.core.hints import Hint
from keysat.core.money import Money
from keysat.core.texts import check_note
from keysat.models import License, Policy, Product, Subscription
from keysat.models.audit import audit
from keysat.models.columns import newest, seconds
from keysat.queue.outbox import EventType, emit_subscription


class SubscriptionStatus(StrEnum):
    """The state of a subscription. While it is `past_due`, its license is in its grace period."""

    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class ListedSubscription:
    """A subscription with its license, the slug of the product, and its status now."""

    subscription: Subscription
    license: License
    product: str
    status: SubscriptionStatus


class NotRecurring(Conflict):
    """The license has no subscription."""

    def __init__(self, license_id: UUID) -> None:
        super().__init__(f"license {license_id} was sold once, so it can't be renewed.")


def start(session: Session, row: License, policy: Policy, price: Money, account_id: UUID | None) -> None:
    """Write the subscription of a license that was issued now, if its policy renews. Its terms stay as they are now."""
    if policy.is_recurring and policy.duration_seconds is not None:
        session.add(
            Subscription(
                license_id=row.id,
                provider_account_id=account_id,
                period_seconds=policy.duration_seconds,
                amount=price.amount,
                currency=price.currency,
            )
        )
        session.flush()


def require_subscription(session: Session, license_id: UUID, *, locked: bool = False) -> Subscription:
    """Return the subscription of a license. A lock is held until the transaction ends.

    Raises:
        NotRecurring: it has none.
    """
    wanted = select(Subscription).where(Subscription.license_id == license_id)
    found = session.scalar(wanted.with_for_update() if locked else wanted)
    if found is None:
        raise NotRecurring(license_id)
    return found


def cancel_subscription(session: Session, license_id: UUID, actor: str, note: str = "") -> bool:
    """Cancel a license's subscription. The license lasts to its end. Returns False if it was cancelled before.

    Raises:
        NotFound: no such license.
        NotRecurring: it has no subscription.
    """
    check_note(note)
    require(session.get(License, license_id), "license", license_id, Hint.LIST_LICENSES)
    subscription = require_subscription(session, license_id, locked=True)
    if subscription.cancelled:
        return False
    subscription.cancelled_at = func.now()
    session.flush()
    emit_subscription(session, EventType.SUBSCRIPTION_CANCELLED, license_id)
    audit(session, actor, "subscription.cancelled", license_id, note=note or None)
    return True


def list_subscriptions(
    session: Session,
    status: SubscriptionStatus | None,
    limit: int,
    before: UUID | None = None,
    license_id: UUID | None = None,
) -> list[ListedSubscription]:
    """Return subscriptions, newest first, or that of a license."""
    status_now = _status_now()
    wanted = select(Subscription, License, Product.slug, status_now)
    wanted = wanted.join(License, License.id == Subscription.license_id).join(Product, Product.id == License.product_id)
    if status is not None:
        wanted = wanted.where(status_now == status)
    if license_id is not None:
        wanted = wanted.where(Subscription.license_id == license_id)
    rows = session.execute(newest(wanted, Subscription.id, limit, before))
    return [
        ListedSubscription(subscription, row, product, SubscriptionStatus(status))
        for subscription, row, product, status in rows
    ]


def _status_now() -> ColumnElement[str]:
    grace_ends = License.expires_at + seconds(License.grace_seconds + License.outage_seconds)
    return case(
        (Subscription.cancelled, SubscriptionStatus.CANCELLED),
        (or_(License.expires_at.is_(None), License.expires_at >= func.now()), SubscriptionStatus.ACTIVE),
        (grace_ends >= func.now(), SubscriptionStatus.PAST_DUE),
        else_=SubscriptionStatus.LAPSED,
    )
