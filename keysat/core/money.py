"""Money as integers in the smallest unit of a currency. Decimals are used only at the edges.

`Money(2100, "BTC")` is 2,100 sats, `Money(1999, "EUR")` is 19.99 euro. Floats are never used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from keysat.core.errors import InvalidInput

DECIMALS = {"BTC": 8, "USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "CAD": 2, "AUD": 2}
MAX_AMOUNT = 21_000_000 * 10**8
BASIS_POINTS = 10_000
MSAT = 1_000  # millisatoshi in a sat
_MAX_DIGITS = 60
_DECIMAL = re.compile(r"[+-]?[0-9]{1,60}(?:\.[0-9]{0,60})?(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Money:
    """An amount in the smallest unit (sat for BTC, cent for the others) and its currency's code."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in DECIMALS:
            raise InvalidInput(f"currency {self.currency!r} is not supported; use one of {', '.join(DECIMALS)}.")
        if type(self.amount) is not int:
            raise InvalidInput(f"amount {self.amount!r} is not a whole number of the smallest unit.")
        if not 0 <= self.amount <= MAX_AMOUNT:
            raise InvalidInput(f"an amount is out of range; use 0 to {MAX_AMOUNT} in the smallest unit.")

    def __str__(self) -> str:
        """Format the amount for people: `2,100 sat`, `19.99 EUR`."""
        return f"{self.amount:,} sat" if self.currency == "BTC" else f"{self.to_decimal():,f} {self.currency}"

    def to_decimal(self) -> Decimal:
        """Return the amount in whole units, with all its decimals: `Decimal("0.00002100")`."""
        return Decimal(self.amount).scaleb(-DECIMALS[self.currency])

    def less_basis_points(self, points: int) -> int:
        """Return the amount less `points` hundredths of a percent, rounded down, in the smallest unit."""
        return self.amount * (BASIS_POINTS - points) // BASIS_POINTS


class _OtherVersionsMoney(Money):
    """An amount that only another version of the program can charge, so it is only shown."""

    def __post_init__(self) -> None:
        """Take what is stored."""

    def __str__(self) -> str:
        return f"{self.amount:,} of {self.currency}'s smallest unit"


def stored_money(amount: int, currency: str) -> Money:
    """Return a stored amount to show it. One that only another version knows is `2,100 of XAU's smallest unit`."""
    try:
        return Money(amount, currency)
    except InvalidInput:
        return _OtherVersionsMoney(amount, currency)


def amount_text(amount: int, currency: str) -> str:
    """Format a stored amount for people."""
    return str(stored_money(amount, currency))


def parse_decimal(text: object, currency: str) -> Money:
    """Read a provider's decimal string (or JSON number) of whole units into the smallest unit.

    Digits below the smallest unit (a provider converts between currencies) are rounded half up.

    Raises:
        InvalidInput: not a finite decimal number, negative, too large, or an unknown currency.
    """
    if currency not in DECIMALS:
        raise InvalidInput(f"currency {currency!r} is not supported; use one of {', '.join(DECIMALS)}.")
    value = _exact(text)
    if not value.is_finite() or not 0 <= value <= MAX_AMOUNT or len(value.as_tuple().digits) > _MAX_DIGITS:
        raise InvalidInput("the number is not an amount: out of range (negative or too large), or of too many digits.")
    with localcontext(prec=2 * _MAX_DIGITS):  # so that rounding happens only once
        units = value.scaleb(DECIMALS[currency]).to_integral_value(rounding=ROUND_HALF_UP)
    return Money(int(units), currency)


def _exact(text: object) -> Decimal:
    if isinstance(text, Decimal) or type(text) is int:
        return Decimal(text)
    if isinstance(text, str) and _DECIMAL.fullmatch(text):
        return Decimal(text)
    raise InvalidInput(f"{text!r:.60} is not an amount.")
