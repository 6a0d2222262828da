"""A license's terms, copied from its policy when it is issued."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from keysat.models import Policy


def terms_of(policy: Policy, now: datetime) -> dict[str, Any]:
    """Return the columns of a license issued now, with times in whole seconds, as in its key."""
    issued_at, lasts = now.replace(microsecond=0), policy.duration_seconds
    return {
        "is_trial": policy.is_trial,
        "max_machines": policy.max_machines,
        "grace_seconds": policy.grace_seconds,
        "entitlements": policy.entitlements,
        "issued_at": issued_at,
        "expires_at": None if lasts is None else issued_at + timedelta(seconds=lasts),
    }
