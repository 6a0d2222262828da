"""Compute the amount of a tip. Pure."""

from __future__ import annotations

from keysat.core.money import BASIS_POINTS, Money

MSAT = 1_000


def tip_sats(paid: Money, bps: int) -> int:
    """Return the tip in whole sats, rounded down, for a payment in BTC. 0 means no tip."""
    return paid.amount * bps // BASIS_POINTS
