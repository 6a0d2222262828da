"""Outgoing Lightning payments, as an adapter reports them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PaymentState(StrEnum):
    """The outcome of an outgoing Lightning payment. Only `failed` allows another attempt."""

    PAID = "paid"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LightningPayment:
    """The outcome of paying a BOLT11 invoice. `fee_msat` is in millisatoshi, if the provider reports it.

    `not_found`: the provider was queried and has no payment with that hash.
    """

    payment_hash: str | None
    state: PaymentState
    fee_msat: int | None = None
    not_found: bool = False
