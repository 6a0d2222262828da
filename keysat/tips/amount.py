"""What a tip amounts to. Pure."""

from __future__ import annotations

from keysat.core.money import BASIS_POINTS, Money

MSAT = 1_000


def tip_sats(paid: Money, bps: int) -> int:
    """The tip in whole sats, rounded down, for what was paid in BTC; 0 means no tip."""
    return paid.amount * bps // BASIS_POINTS
