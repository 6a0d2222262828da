"""A code's slots: reserved when a purchase starts, redeemed with the license, freed when the invoice ends unpaid.

The counter's constraint and the row lock of its update prevent overselling, regardless of how many buyers race.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from keysat.codes.pricing import Discount, NotApplicable
from keysat.core.errors import Conflict, require
from keysat.models import DiscountCode, Redemption
from keysat.models.audit import audit
from keysat.models.discount_code import RedemptionStatus
from keysat.queue.outbox import EventType, emit


class CodeUsedUp(Conflict):
    """Every slot of the code is taken."""

    def __init__(self, code: str) -> None:
        super().__init__(f"code {code} is used up.")


def find_code(session: Session, text: str, product_id: UUID) -> DiscountCode:
    """Return the code with that text, in upper or lower case, if it can be used for the product now.

    Raises:
        NotFound: there is no such code, or it was disabled.
        NotApplicable: it has expired, or is for another product.
    """
    wanted = text.strip().upper()
    row = session.execute(
        select(DiscountCode, DiscountCode.expired(func.now())).where(
            DiscountCode.code == wanted, ~DiscountCode.disabled
        )
    ).one_or_none()
    code, expired = require(row, "discount code", wanted)
    if expired:
        raise NotApplicable(f"code {wanted} has expired.")
    if code.product_id not in {None, product_id}:
        raise NotApplicable(f"code {wanted} is for another product.")
    return code


def discount_of(code: DiscountCode) -> Discount:
    """Return the code's effect on a price."""
    return Discount(code.code, code.kind, code.amount, code.currency)


def reserve(session: Session, code: DiscountCode, invoice_id: UUID, discount: int) -> UUID:
    """Take a slot for an invoice. `discount` is in the smallest unit. Returns the redemption's id.

    Raises:
        CodeUsedUp: no slot is left.
    """
    if not _take_slot(session, code.id):
        raise CodeUsedUp(code.code)
    redemption = Redemption(code_id=code.id, invoice_id=invoice_id, discount=discount)
    session.add(redemption)
    session.flush()
    return redemption.id


def redeem(session: Session, invoice_id: UUID, actor: str) -> None:
    """Use up the slot of an invoice that got its license. Does nothing if no code was used.

    If the slot had been freed, another is taken. If none is left, the redemption is recorded as excess.
    """
    row = session.scalar(select(Redemption).where(Redemption.invoice_id == invoice_id).with_for_update())
    if row is None or row.status in {RedemptionStatus.REDEEMED, RedemptionStatus.EXCESS}:
        return
    held = row.status == RedemptionStatus.RESERVED or _take_slot(session, row.code_id)
    row.status = RedemptionStatus.REDEEMED if held else RedemptionStatus.EXCESS
    row.changed_at = func.now()
    session.flush()
    used = {"redemption_id": row.id, "code_id": row.code_id, "invoice_id": invoice_id, "discount": row.discount}
    emit(session, EventType.CODE_REDEEMED, {**used, "excess": not held}, invoice_id=invoice_id)
    audit(session, actor, "code.redeemed", row.id, invoice_id=str(invoice_id), excess=None if held else True)


def cancel(session: Session, invoice_id: UUID, actor: str) -> None:
    """Free the slot of an invoice that ended unpaid. Does nothing if none was reserved."""
    freed = session.execute(
        update(Redemption)
        .where(Redemption.invoice_id == invoice_id, Redemption.status == RedemptionStatus.RESERVED)
        .values(status=RedemptionStatus.CANCELLED, changed_at=func.now())
        .returning(Redemption.id, Redemption.code_id)
    ).one_or_none()
    if freed is not None:
        redemption_id, code_id = freed
        session.execute(update(DiscountCode).where(DiscountCode.id == code_id).values(uses=DiscountCode.uses - 1))
        audit(session, actor, "code.cancelled", redemption_id, invoice_id=str(invoice_id))


def _take_slot(session: Session, code_id: UUID) -> bool:
    taken = session.scalar(
        update(DiscountCode)
        .where(
            DiscountCode.id == code_id,
            or_(DiscountCode.max_uses.is_(None), DiscountCode.uses < DiscountCode.max_uses),
        )
        .values(uses=DiscountCode.uses + 1)
        .returning(DiscountCode.id)
    )
    return taken is not None
