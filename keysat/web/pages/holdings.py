"""Licenses as their holder sees them: each with its key, its machines, and whether there is a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core.money import Money
from keysat.licenses.releases import Seats, read_seats
from keysat.models import License, Policy, Product, Subscription
from keysat.models.license import LicenseStatus
from keysat.sales.renew import price_of_renewal
from keysat.web.pages.progress import face_of
from keysat.web.pages.render import page
from keysat.web.state import key_of

# What one page shows. A holder of more sees an older one by its key.
MAX_SHOWN = 100


@dataclass(frozen=True)
class Holding:
    """A license. `key` is None if it was revoked, or if another signing key issued it.

    `renewal` is the price of its next period if that may be paid now.
    """

    owned: License
    product: Product
    policy: Policy
    face: str
    key: str | None
    seats: Seats
    may_free: bool
    subscription: Subscription | None
    renewal: Money | None

    @property
    def has_file(self) -> bool:
        """Whether the holder gets files for programs without a network."""
        return self.key is not None and self.face == LicenseStatus.ACTIVE

    @property
    def has_receipt(self) -> bool:
        """Whether there is a receipt for the holder, who is the buyer."""
        return self.owned.invoice_id is not None and self.owned.transferred_at is None


def purchases_page(
    request: Request,
    session: Session,
    owned: Sequence[License],
    pass_: str,
    *,
    by_link: bool = False,
    outcome: str | None = None,
) -> HTMLResponse:
    """Show licenses, and forms that carry the pass. `outcome` names the text of what a form did."""
    now = session.scalars(select(func.now())).one()
    return page(
        request,
        "purchases.html",
        holdings=[_holding(session, row, now) for row in owned[:MAX_SHOWN]],
        shown=MAX_SHOWN,
        more=len(owned) > MAX_SHOWN,
        proof=pass_,
        by_link=by_link,
        outcome=outcome,
    )


def _holding(session: Session, row: License, now: datetime) -> Holding:
    key = key_of(row)
    return Holding(
        owned=row,
        product=session.get_one(Product, row.product_id),
        policy=session.get_one(Policy, row.policy_id),
        face=face_of(row, now),
        key=None if row.status == LicenseStatus.REVOKED else key,
        seats=read_seats(session, row.id),
        may_free=key is not None,
        subscription=session.scalar(select(Subscription).where(Subscription.license_id == row.id)),
        renewal=price_of_renewal(session, row),
    )
