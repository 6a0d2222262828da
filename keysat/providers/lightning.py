"""Outgoing Lightning payments, as an adapter reports them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PaymentState(StrEnum):
    """What became of an outgoing Lightning payment; only `failed` means that it may be tried anew."""

    PAID = "paid"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LightningPayment:
    """The outcome of paying a BOLT11 invoice; `fee_msat` in millisatoshi where the provider tells.

    `unheard_of`: the provider was asked about the payment and has none of that hash.
    """

    payment_hash: str | None
    state: PaymentState
    fee_msat: int | None = None
    unheard_of: bool = False
