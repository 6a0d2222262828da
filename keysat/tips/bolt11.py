"""Decode BOLT11 invoices with the `bolt11` package, and refuse those that don't match the tip."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from keysat.core.errors import KeysatError

NETWORKS = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
# An invoice that expires sooner may do so before it can be paid.
_MIN_LIFE = timedelta(seconds=30)
_MAX_CHARACTERS = 4_096
_PREFIX = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([1-9][0-9]{0,19})([munp]?))?")
_TENTHS_OF_MSAT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_PAYEE = (_ALPHABET.index("n"), 53)
# The BOLT9 features that an invoice may require: onions, payment secrets, multi-part payments, blinded routes,
# attribution and metadata. `_NEEDS` contains the dependencies between them.
_KNOWN = {8, 14, 16, 24, 36, 48}
_NEEDS = {14: 8, 16: 14, 24: 8, 48: 8}
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class Bolt11Refused(KeysatError):
    """The recipient's invoice doesn't match the request. Nothing was paid."""


@dataclass(frozen=True)
class Bolt11:
    """A checked invoice, and until when it can be paid."""

    text: str
    payment_hash: str
    payable_until: datetime


def available() -> bool:
    """Whether the `bolt11` package is installed (`keysat[lightning]`)."""
    return importlib.util.find_spec("bolt11") is not None


@dataclass(frozen=True)
class Decoded:
    """A decoded invoice with a valid signature. `amount_msat` is None if it accepts any amount.

    `description_hash` is None if the invoice contains the description itself.
    """

    network: str
    amount_msat: int | None
    payment_hash: str
    description_hash: str | None
    ends_at: datetime


def decode(text: str) -> Decoded:
    """Decode an invoice as BOLT11 requires of readers.

    Raises:
        Bolt11Refused: it is no invoice, its signature is invalid, or it requires an unknown feature.
    """
    import bolt11  # noqa: PLC0415 - an extra that may be missing

    if len(text) > _MAX_CHARACTERS:
        raise Bolt11Refused(f"the recipient's invoice has more than {_MAX_CHARACTERS} characters.")
    prefix = _PREFIX.fullmatch(text.lower().rpartition("1")[0])
    if prefix is None or not text.isascii() or text not in {text.lower(), text.upper()}:
        raise Bolt11Refused("the recipient sent no BOLT11 invoice (its prefix or amount can't be read).")
    try:
        decoded = bolt11.decode(text, strict=False)
        until = datetime.fromtimestamp(decoded.date + decoded.expiry, UTC)
        required, offered = _feature_bits(decoded)
        assert decoded.signature is not None
        high_s = int(str(decoded.signature.s), 16) > _HALF_ORDER
    except Exception as error:  # noqa: BLE001 - any error that an untrusted invoice causes in the decoder
        raise Bolt11Refused(f"the recipient sent no BOLT11 invoice ({type(error).__name__}).") from None
    if unknown := sorted(bit for bit in required if bit not in _KNOWN):
        raise Bolt11Refused(f"the recipient's invoice requires feature {unknown[0]}, which is unknown.")
    for feature, needed in _NEEDS.items():
        if feature in offered and needed not in offered:
            raise Bolt11Refused(f"the recipient's invoice offers feature {feature} without {needed}, which it needs.")
    if high_s and _names_payee(text):
        raise Bolt11Refused("the recipient's invoice has a signature that isn't canonical.")
    return Decoded(prefix[1], _msat(prefix), str(decoded.payment_hash), decoded.description_hash, until)


def _feature_bits(decoded: Any) -> tuple[set[int], set[int]]:
    """Return the required (even) bits, and the even bits of all features that are set, required or not."""
    states = decoded.features.feature_list if decoded.features else {}
    return {2 * feature.value for feature, state in states.items() if state.name == "required"}, {
        2 * feature.value for feature in states
    }


def _names_payee(text: str) -> bool:
    """Whether an invoice has an `n` field of the right length. The decoder adds the recovered key if it is missing."""
    words = [_ALPHABET.index(char) for char in text.lower().rpartition("1")[2]][7:-110]
    while len(words) > 2:
        kind, length = words[0], words[1] * 32 + words[2]
        if (kind, length) == _PAYEE:
            return True
        words = words[3 + length :]
    return False


def _msat(prefix: re.Match[str]) -> int | None:
    if prefix[2] is None:
        return None
    amount = int(prefix[2]) * _TENTHS_OF_MSAT[prefix[3]]
    if amount % 10:
        raise Bolt11Refused("the recipient's invoice asks for a part of a millisatoshi.")
    return amount // 10


def check(text: str, *, amount_msat: int, network: str, description_hash: str, now: datetime) -> Bolt11:
    """Decode an invoice and compare it with the request.

    Raises:
        Bolt11Refused: the amount, network or description differs, too little time is left, or it is no invoice.
    """
    decoded = decode(text)
    if decoded.network != NETWORKS[network]:
        raise Bolt11Refused(f"the recipient's invoice is for network {decoded.network!r}, not {network}.")
    if decoded.amount_msat != amount_msat:
        asked = "no amount" if decoded.amount_msat is None else f"{decoded.amount_msat:,} msat"
        raise Bolt11Refused(f"the recipient's invoice asks for {asked}, not {amount_msat:,} msat.")
    if decoded.description_hash not in {None, description_hash}:  # LUD-06 allows plain descriptions
        raise Bolt11Refused("the recipient's invoice is for something else: its description hash differs.")
    if decoded.ends_at < now + _MIN_LIFE:
        ends = f"{decoded.ends_at:%Y-%m-%d %H:%M:%S}"
        raise Bolt11Refused(f"the recipient's invoice ends at {ends} UTC, too soon to be paid.")
    return Bolt11(text, decoded.payment_hash, decoded.ends_at)
