"""Report discount codes: their state, their product, and how they were used, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, func, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from keysat.codes.manage import require_code
from keysat.models import DiscountCode, Policy, Product, Redemption
from keysat.models.columns import newest
from keysat.models.discount_code import IN_CURRENCY, RedemptionStatus


class CodeState(StrEnum):
    """Whether buyers can use a code."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    USED_UP = "used up"


@dataclass(frozen=True)
class ReportedCode:
    """A code, the slugs of the only product and the only policies it is for, and its state."""

    row: DiscountCode
    product: str | None
    policies: list[str]
    state: CodeState

    def fits(self, product_id: UUID, currency: str) -> bool:
        """Whether the code is for this product, whose prices are in that currency."""
        right_currency = self.row.kind not in IN_CURRENCY or self.row.currency == currency
        return right_currency and self.row.product_id in {None, product_id}


def list_codes(session: Session, limit: int | None = None, before: UUID | None = None) -> list[ReportedCode]:
    """Return the codes, newest first, at most `limit`, and only those older than the one with the id `before`."""
    rows = session.execute(newest(_codes(), DiscountCode.id, limit, before))
    return [_reported(*row) for row in rows]


def featured_codes(session: Session, product_id: UUID | None = None) -> list[ReportedCode]:
    """Return the codes that everybody may see and use now, newest first: all, or those that a product takes.

    Their policies are those that everybody may see.
    """
    wanted = _codes(~Policy.archived, ~Policy.hidden).where(DiscountCode.featured).order_by(DiscountCode.id.desc())
    if product_id is not None:
        wanted = wanted.where(or_(DiscountCode.product_id.is_(None), DiscountCode.product_id == product_id))
    found = [_reported(*row) for row in session.execute(wanted)]
    return [code for code in found if code.state is CodeState.ACTIVE and (code.policies or not code.row.policy_ids)]


def report_code(session: Session, code: str) -> ReportedCode:
    """Return the code with that text, in upper or lower case.

    Raises:
        NotFound: there is no such code.
    """
    wanted = _codes().where(DiscountCode.id == require_code(session, code).id)
    return _reported(*session.execute(wanted).one())


def slots(session: Session, code_id: UUID) -> dict[str, int]:
    """Return the number of a code's redemptions by status."""
    found = session.execute(
        select(Redemption.status, func.count().label("used"))
        .where(Redemption.code_id == code_id)
        .group_by(Redemption.status)
    )
    counts = {row.status: row.used for row in found}
    return {str(status): counts.get(status, 0) for status in RedemptionStatus}


def _codes(*shown: ColumnElement[bool]) -> Select[DiscountCode, str, list[str] | None, datetime]:
    policies = select(func.array_agg(aggregate_order_by(Policy.slug, Policy.slug)))
    policies = policies.where(Policy.id == any_(DiscountCode.policy_ids), *shown).correlate(DiscountCode)
    wanted = select(DiscountCode, Product.slug, policies.scalar_subquery(), func.now())
    return wanted.outerjoin(Product, Product.id == DiscountCode.product_id)


def _reported(row: DiscountCode, product: str | None, policies: list[str] | None, now: datetime) -> ReportedCode:
    if row.disabled:
        state = CodeState.DISABLED
    elif row.expired(now):
        state = CodeState.EXPIRED
    else:
        state = CodeState.USED_UP if row.used_up else CodeState.ACTIVE
    return ReportedCode(row, product, policies or [], state)
