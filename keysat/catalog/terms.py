"""The terms of a policy and how it is shown, as an operator enters them, and what is in range."""

from __future__ import annotations

from dataclasses import dataclass, fields

from keysat.core.errors import InvalidInput
from keysat.core.money import BASIS_POINTS
from keysat.core.settings import load_settings
from keysat.core.texts import check_entitlements, check_line, check_name
from keysat.models import Policy
from keysat.models.policy import SECONDS_OF_A_DAY
from keysat.net.lightning_address import parse_address

_MAX_NOTICES, _MAX_NOTICE_DAYS = 10, 366
_MAX_BULLETS, _MAX_POSITION, _MAX_TRIAL_DAYS = 20, 1_000_000, 1_830


@dataclass(frozen=True)
class Terms:
    """A policy's terms: seconds, no duration = perpetual, 0 machines = unlimited, price in the product's currency.

    `is_recurring` licenses can be renewed for the same duration and price. They need a duration.
    They begin with `trial_days` for free, once for each buyer. A trial isn't longer than the duration.

    A license's holder may free `releases_per_seat` seats in 30 days for each seat of the license.

    `tip_pct_bps` hundredths of a percent of the payment go to the Lightning Address `tip_recipient`.
    """

    duration_seconds: int | None = None
    grace_seconds: int = 0
    is_recurring: bool = False
    trial_days: int = 0
    expiry_notice_days: tuple[int, ...] = (14, 7, 1)
    max_machines: int = 1
    releases_per_seat: int = 3
    is_trial: bool = False
    entitlements: tuple[str, ...] = ()
    price_amount: int | None = None
    tip_recipient: str | None = None
    tip_pct_bps: int | None = None
    tip_label: str = ""

    @classmethod
    def of(cls, policy: Policy) -> Terms:
        """Return the terms of a stored policy."""
        return cls(**{field.name: getattr(policy, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Display:
    """How a policy is shown: its bullets, its place among the others, or not at all. It is sold all the same."""

    bullets: tuple[str, ...] = ()
    position: int = 0
    hidden: bool = False

    @classmethod
    def of(cls, policy: Policy) -> Display:
        """Return how a stored policy is shown."""
        return cls(tuple(policy.bullets), policy.position, policy.hidden)


def check_terms(terms: Terms) -> None:
    """Check that a policy's terms are in range. Raises `InvalidInput`."""
    if terms.duration_seconds is not None and not 0 < terms.duration_seconds <= 10**9:
        raise InvalidInput("a duration must be 1 to 1,000,000,000 seconds, or left out for a perpetual license.")
    if terms.is_recurring and terms.duration_seconds is None:
        raise InvalidInput("a recurring policy needs a duration: that is the period of each renewal.")
    _check_trial(terms)
    days = terms.expiry_notice_days
    if len(days) > _MAX_NOTICES or not all(0 < number <= _MAX_NOTICE_DAYS for number in days):
        raise InvalidInput("notices can be given 1 to 366 days before the end of a license, 10 at most.")
    if not 0 <= terms.grace_seconds <= 10**9:
        raise InvalidInput("a grace period must be 0 to 1,000,000,000 seconds.")
    if not 0 <= terms.max_machines <= 10**6:
        raise InvalidInput("the number of machines must be 0 (unlimited) to 1,000,000.")
    if not 0 <= terms.releases_per_seat <= 1_000:
        raise InvalidInput("the number of releases for each seat must be 0 to 1,000.")
    if terms.price_amount is not None and terms.price_amount < 0:
        raise InvalidInput("a price can't be negative.")
    _check_tip(terms)
    check_entitlements(terms.entitlements)


def check_display(display: Display) -> None:
    """Check that a policy's bullets are lines of text, and its place is in range. Raises `InvalidInput`."""
    if len(display.bullets) > _MAX_BULLETS:
        raise InvalidInput(f"a policy can have {_MAX_BULLETS} bullets at most.")
    for bullet in display.bullets:
        check_name(bullet, "a bullet")
    if abs(display.position) > _MAX_POSITION:
        raise InvalidInput(f"a policy's position must be {-_MAX_POSITION:,} to {_MAX_POSITION:,}.")


def _check_trial(terms: Terms) -> None:
    if not 0 <= terms.trial_days <= _MAX_TRIAL_DAYS:
        raise InvalidInput(f"a trial must be 0 to {_MAX_TRIAL_DAYS:,} days.")
    if terms.trial_days and not terms.is_recurring:
        raise InvalidInput("a trial goes on with renewals, so its policy must be recurring.")
    if terms.trial_days * SECONDS_OF_A_DAY > (terms.duration_seconds or 0) > 0:
        raise InvalidInput("a trial can't be longer than a period.")


def _check_tip(terms: Terms) -> None:
    if (terms.tip_recipient is None) != (terms.tip_pct_bps is None):
        raise InvalidInput(
            "a tip needs both a recipient, as dev@example.com, and a share, as 500 basis points for 5 %."
        )
    if terms.tip_recipient is not None:
        parse_address(terms.tip_recipient, allow_local=bool(load_settings().tip_allowed_networks))
    if terms.tip_pct_bps is not None and not 0 < terms.tip_pct_bps <= BASIS_POINTS:
        raise InvalidInput("a tip's share must be 1 to 10,000 basis points: 500 is 5 %.")
    check_line(terms.tip_label, "the tip's label")
