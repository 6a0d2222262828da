"""A sample of each event, with the fields that the event has, to try a receiver with."""

from __future__ import annotations

from uuid import UUID

from keysat.queue.outbox import WITH_KEY, EventType

AT = "2026-11-26T12:00:00+00:00"


def _id(number: int) -> str:
    return str(UUID(int=number))


_LICENSE: dict[str, object] = {
    "license_id": _id(1),
    "product_id": _id(2),
    "product_slug": "editor",
    "invoice_id": _id(3),
    "policy_id": _id(4),
    "policy_slug": "standard",
    "is_trial": False,
    "expires_at": None,
    "entitlements": ["export"],
    "source": "purchase",
    "status": "active",
    "email": "buyer@example.com",
    "amount": 21_000,
    "currency": "BTC",
}
_INVOICE: dict[str, object] = {
    "invoice_id": _id(3),
    "product_id": _id(2),
    "policy_id": _id(4),
    "status": "settled",
    "exception": "none",
    "amount": 21_000,
    "currency": "BTC",
    "paid_amount": 21_000,
    "settled_at": AT,
    "review_reason": None,
    "rest_of_id": None,
    "rest_paid": 0,
}
_SUBSCRIPTION: dict[str, object] = {
    "license_id": _id(1),
    "invoice_id": None,
    "subscription_id": _id(10),
    "product_id": _id(2),
    "product_slug": "editor",
    "policy_id": _id(4),
    "amount": 21_000,
    "currency": "BTC",
    "period_seconds": 31_536_000,
    "amount_sats": 21_000,
    "expires_at": AT,
    "status": "active",
    "email": "buyer@example.com",
}
_UNPAID = {**_INVOICE, "paid_amount": None, "settled_at": None}
_MACHINE: dict[str, object] = {
    "machine_id": _id(5),
    "license_id": _id(1),
    "hostname": "desk",
    "platform": "linux",
    "reason": None,
}
_TIP: dict[str, object] = {
    "tip_id": _id(6),
    "license_id": _id(1),
    "invoice_id": _id(3),
    "label": "",
    "recipient": "dev@example.com",
    "amount_msat": 1_050_000,
}
_SAMPLES: dict[EventType, dict[str, object]] = {
    EventType.LICENSE_ISSUED: _LICENSE,
    EventType.LICENSE_CHANGED: {**_LICENSE, "entitlements": ["export", "sync"]},
    EventType.LICENSE_REVOKED: {**_LICENSE, "status": "revoked"},
    EventType.LICENSE_SUSPENDED: {**_LICENSE, "status": "suspended"},
    EventType.LICENSE_UNSUSPENDED: _LICENSE,
    EventType.LICENSE_EXPIRING_SOON: {**_LICENSE, "expires_at": AT},
    EventType.LICENSE_EXPIRED: {**_LICENSE, "expires_at": AT},
    EventType.SUBSCRIPTION_RENEWED: {**_SUBSCRIPTION, "invoice_id": _id(3)},
    EventType.SUBSCRIPTION_CANCELLED: _SUBSCRIPTION,
    EventType.INVOICE_SETTLED: _INVOICE,
    EventType.INVOICE_EXPIRED: {**_UNPAID, "status": "expired"},
    EventType.INVOICE_INVALID: {**_UNPAID, "status": "invalid"},
    EventType.INVOICE_REVIEW_NEEDED: {
        **_UNPAID,
        "status": "expired",
        "exception": "partial",
        "paid_amount": 10_500,
        "review_reason": "underpaid",
    },
    EventType.CODE_REDEEMED: {
        "redemption_id": _id(7),
        "code_id": _id(8),
        "invoice_id": _id(3),
        "discount": 5_250,
        "excess": False,
    },
    EventType.MACHINE_ACTIVATED: _MACHINE,
    EventType.MACHINE_DEACTIVATED: {**_MACHINE, "reason": "sold"},
    EventType.TIP_SENT: _TIP,
    EventType.TIP_FAILED: {**_TIP, "reason": "no route"},
    EventType.ENDPOINT_DISABLED: {
        "endpoint_id": _id(9),
        "name": "shop",
        "reason": "it answered 410: it wants nothing more",
    },
}


def sample(event_type: EventType, *, with_key: bool = False) -> dict[str, object]:
    """Return the data of a made-up event. `sample` in it tells a receiver so. `with_key` as the endpoint's."""
    key = {"license_key": "LIC1-SAMPLE-SAMPLE"} if with_key and event_type in WITH_KEY else {}
    return {**_SAMPLES[event_type], **key, "sample": True}
