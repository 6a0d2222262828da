"""The alarm for webhooks that no longer arrive: buyers still get their licenses by polling, but later than need be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from keysat.models import Invoice, ProviderAccount

LEAST_SETTLED = 3
_GRACE = timedelta(seconds=60)
_LOOKING_BACK = timedelta(hours=24)


@dataclass(frozen=True)
class Silence:
    """An account whose invoices settle while its webhooks don't arrive; `heard_at`: when one last did, if ever."""

    account: str
    settled: int
    heard_at: datetime | None

    def __str__(self) -> str:
        """What is wrong, and what to do about it."""
        since = "none ever came" if self.heard_at is None else f"the last came at {self.heard_at:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"webhooks of account {self.account} don't arrive: {self.settled} invoices settled without one, {since}; "
            f"licenses are issued by polling. `keysat provider connect {self.account}` registers the webhook anew and "
            "checks that it arrives: is KEYSAT_PUBLIC_URL reachable from the provider, and does the web server run?"
        )


def silent_accounts(session: Session) -> list[Silence]:
    """The accounts whose webhooks have fallen silent: three invoices or more settled, and no webhook came since.

    An account that was never connected isn't expected to send any.
    """
    heard_at = func.greatest(ProviderAccount.last_event_at, ProviderAccount.webhook_connected_at)
    settled = func.count(Invoice.id)
    rows = session.execute(
        select(ProviderAccount.name, settled, ProviderAccount.last_event_at)
        .join(Invoice, Invoice.provider_account_id == ProviderAccount.id)
        .where(
            or_(ProviderAccount.last_event_at.is_not(None), ProviderAccount.webhook_connected_at.is_not(None)),
            Invoice.settled_at > func.greatest(heard_at + _GRACE, func.now() - _LOOKING_BACK),
            Invoice.settled_at < func.now() - _GRACE,
            Invoice.settled_by_hand.is_(False),
        )
        .group_by(ProviderAccount.id)
        .having(settled >= LEAST_SETTLED)
        .order_by(ProviderAccount.name)
    )
    return [Silence(*row) for row in rows]
