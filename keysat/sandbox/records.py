"""Immutable records of the sandbox. A snapshot can leave the lock, because it never changes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHAIN, LIGHTNING = "BTC-CHAIN", "BTC-LN"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Kind(StrEnum):
    """The API of a store, which also determines the shape of its webhooks."""

    BTCPAY = "btcpay"
    ZAPRITE = "zaprite"
    OPENNODE = "opennode"


class Status(StrEnum):
    """BTCPay's invoice status."""

    NEW = "New"
    PROCESSING = "Processing"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    SETTLED = "Settled"


class Additional(StrEnum):
    """BTCPay's additional invoice status, which gives the reason."""

    NONE = "None"
    LATE = "PaidLate"
    PARTIAL = "PaidPartial"
    OVER = "PaidOver"
    MARKED = "Marked"


def new_id() -> str:
    """Return a random id in BTCPay's format: 22 base58 characters."""
    return "".join(secrets.choice(_BASE58) for _ in range(22))


@dataclass(frozen=True)
class Webhook:
    """A destination for events of a store: all kinds, or those in `events`. `redelivers` retries failed deliveries."""

    url: str
    secret: str = field(default="", repr=False)
    id: str = field(default_factory=new_id)
    enabled: bool = True
    redelivers: bool = True
    everything: bool = True
    events: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        return self.enabled and (self.everything or kind in self.events)


@dataclass(frozen=True)
class Store:
    """A merchant's store: its API key and its webhooks."""

    id: str
    api_key: str
    webhooks: tuple[Webhook, ...] = ()
    kind: Kind = Kind.BTCPAY

    def webhook(self, webhook_id: str) -> Webhook | None:
        return next((webhook for webhook in self.webhooks if webhook.id == webhook_id), None)


@dataclass(frozen=True)
class Payment:
    """A received payment: its time (Unix seconds), its amount (smallest unit), and whether it is confirmed.

    `preimage` is the proof of a Lightning payment, in hex, whose id is the payment hash. Others have none.
    """

    at: float
    amount: int
    is_confirmed: bool
    id: str = field(default_factory=new_id)
    destination: str = field(default_factory=lambda: f"sandbox-{new_id()}")
    preimage: str | None = None

    @property
    def method(self) -> str:
        """BTCPay's id of its payment method."""
        return CHAIN if self.preimage is None else LIGHTNING


def lightning_payment(at: float, amount: int) -> Payment:
    """Return a Lightning payment. It is confirmed at once."""
    preimage = secrets.token_bytes(32)
    return Payment(at, amount, is_confirmed=True, id=hashlib.sha256(preimage).hexdigest(), preimage=preimage.hex())


@dataclass(frozen=True)
class Draft:
    """A valid invoice request. The amount is in the smallest unit (None: a top-up), durations are in whole seconds."""

    amount: int | None
    currency: str
    expires_in: int
    monitored_for: int
    metadata: Mapping[str, Any]
    checkout: Mapping[str, Any]
    receipt: Mapping[str, Any]
    search_terms: tuple[str, ...]


@dataclass(frozen=True)
class Invoice:
    """A snapshot of an invoice. Amounts are in the smallest unit, times in Unix seconds.

    `paid_at` is the time at which the paid amount first reached the invoice's amount.
    """

    store_id: str
    draft: Draft
    amount: int
    created_at: float
    expires_at: int
    id: str = field(default_factory=new_id)
    status: Status = Status.NEW
    additional: Additional = Additional.NONE
    payments: tuple[Payment, ...] = ()
    paid_at: float | None = None
    is_refunded: bool = False
    is_archived: bool = False

    @property
    def is_top_up(self) -> bool:
        return self.draft.amount is None

    @property
    def paid(self) -> int:
        return sum(payment.amount for payment in self.payments)

    @property
    def is_full(self) -> bool:
        return self.paid >= self.amount and (bool(self.payments) or not self.is_top_up)

    @property
    def is_confirmed(self) -> bool:
        confirmed = sum(payment.amount for payment in self.payments if payment.is_confirmed)
        return self.is_full and confirmed >= self.amount

    @property
    def order_id(self) -> str | None:
        wanted = self.draft.metadata.get("orderId")
        return None if wanted is None else str(wanted)


@dataclass(frozen=True)
class Event:
    """A change of an invoice that BTCPay sends to webhooks: its type, the changed invoice, and the type's fields."""

    kind: str
    invoice: Invoice
    at: float
    details: Mapping[str, Any] = field(default_factory=dict)
