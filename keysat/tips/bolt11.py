"""BOLT11 invoices, as far as a tip must know them: decoded by the `bolt11` package, and refused unless they fit."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keysat.errors import KeysatError

NETWORKS = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
# An invoice that ends before the payment could be made would be asked for in vain.
_MIN_LIFE = timedelta(seconds=30)
_MOST_CHARACTERS = 4_096


class Bolt11Refused(KeysatError):
    """The recipient's invoice isn't what was asked for; nothing was paid."""


@dataclass(frozen=True)
class Bolt11:
    """An invoice that was checked: what is paid, and until when it can be."""

    text: str
    payment_hash: str
    payable_until: datetime


def available() -> bool:
    """Whether the package is installed (`keysat[lightning]`)."""
    return importlib.util.find_spec("bolt11") is not None


def check(text: str, *, amount_msat: int, network: str, description_hash: str, now: datetime) -> Bolt11:
    """Decode an invoice and hold it against what was asked for.

    Raises:
        Bolt11Refused: another amount, network or description, too little time left, or no invoice at all.
    """
    from bolt11 import Bolt11Exception, decode  # noqa: PLC0415 - an extra that may be missing

    if len(text) > _MOST_CHARACTERS:
        raise Bolt11Refused(f"the recipient's invoice has more than {_MOST_CHARACTERS} characters.")
    try:
        decoded = decode(text, strict=False)
        until = datetime.fromtimestamp(decoded.date + decoded.expiry, UTC)
    except (Bolt11Exception, ValueError, TypeError, KeyError, OverflowError, ArithmeticError, IndexError) as error:
        raise Bolt11Refused(f"the recipient sent no BOLT11 invoice ({type(error).__name__}).") from None
    if decoded.currency != NETWORKS[network]:
        raise Bolt11Refused(f"the recipient's invoice is for network {decoded.currency!r}, not {network}.")
    if decoded.amount_msat is None or int(decoded.amount_msat) != amount_msat:
        asked = "no amount" if decoded.amount_msat is None else f"{int(decoded.amount_msat):,} msat"
        raise Bolt11Refused(f"the recipient's invoice asks for {asked}, not {amount_msat:,} msat.")
    if decoded.description_hash != description_hash:
        raise Bolt11Refused("the recipient's invoice is for something else: its description hash differs.")
    if until < now + _MIN_LIFE:
        raise Bolt11Refused(f"the recipient's invoice ends at {until:%Y-%m-%d %H:%M:%S} UTC, too soon to be paid.")
    return Bolt11(text, str(decoded.payment_hash), until)
