"""Report discount codes: their state, their product, and how they were used, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from keysat.codes.manage import require_code
from keysat.models import DiscountCode, Product, Redemption
from keysat.models.columns import newest
from keysat.models.discount_code import RedemptionStatus


class CodeState(StrEnum):
    """Whether buyers can use a code."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    USED_UP = "used up"


@dataclass(frozen=True)
class ReportedCode:
    """A code, the slug of the only product it is for, and its state."""

    row: DiscountCode
    product: str | None
    state: CodeState


def list_codes(session: Session, limit: int | None = None, before: UUID | None = None) -> list[ReportedCode]:
    """Return the codes, newest first, at most `limit`, and only those older than the one with the id `before`."""
    rows = session.execute(newest(_codes(), DiscountCode.id, limit, before))
    return [_reported(row, product, now) for row, product, now in rows]


def report_code(session: Session, code: str) -> ReportedCode:
    """Return the code with that text, in upper or lower case.

    Raises:
        NotFound: there is no such code.
    """
    wanted = _codes().where(DiscountCode.id == require_code(session, code).id)
    row, product, now = session.execute(wanted).one()
    return _reported(row, product, now)


def slots(session: Session, code_id: UUID) -> dict[str, int]:
    """Return the number of a code's redemptions by status."""
    found = session.execute(
        select(Redemption.status, func.count().label("used"))
        .where(Redemption.code_id == code_id)
        .group_by(Redemption.status)
    )
    counts = {row.status: row.used for row in found}
    return {str(status): counts.get(status, 0) for status in RedemptionStatus}


def _codes() -> Select[DiscountCode, str, datetime]:
    return select(DiscountCode, Product.slug, func.now()).outerjoin(Product, Product.id == DiscountCode.product_id)


def _reported(row: DiscountCode, product: str | None, now: datetime) -> ReportedCode:
    if row.disabled:
        state = CodeState.DISABLED
    elif row.expired(now):
        state = CodeState.EXPIRED
    else:
        state = CodeState.USED_UP if row.uses == row.max_uses else CodeState.ACTIVE
    return ReportedCode(row, product, state)
