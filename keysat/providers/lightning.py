"""Lightning payments, outgoing and received, as an adapter reports them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True)
class ReceivedPayments:
    """What an invoice received: the time of the last payment, and the payment hash that proves who paid.

    `last_at` is None if nothing was received. `payment_hashes` has the 32 bytes of the settled Lightning payment that
    paid the invoice alone. It is empty if there were other payments: none of several payers may claim the purchase.
    """

    last_at: datetime | None
    payment_hashes: tuple[bytes, ...] = ()
