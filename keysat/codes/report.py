"""Report how a discount code was used, in numbers."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.models import Redemption
from keysat.models.discount_code import RedemptionStatus


def slots(session: Session, code_id: UUID) -> dict[str, int]:
    """Return the number of a code's redemptions by status."""
    found = session.execute(
        select(Redemption.status, func.count()).where(Redemption.code_id == code_id).group_by(Redemption.status)
    )
    counts = {row[0]: row[1] for row in found}
    return {str(status): counts.get(status, 0) for status in RedemptionStatus}
