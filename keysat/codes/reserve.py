"""A code's slots: reserved when a purchase starts, redeemed with the license, freed when the invoice ends unpaid.

The lock of the code's row, and the counter's constraint, prevent overselling, regardless of how many buyers race.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from keysat.codes.pricing import Discount, NotApplicable
from keysat.core.errors import Conflict, InvalidInput, require
from keysat.core.mailbox import same_buyer
from keysat.models import DiscountCode, Redemption
from keysat.models.audit import audit
from keysat.models.discount_code import HELD, RedemptionStatus
from keysat.queue.outbox import EventType, emit


class NoSlot(Conflict):
    """The code has no slot for this purchase."""


class CodeUsedUp(NoSlot):
    """Every slot of the code is taken."""

    def __init__(self, code: str) -> None:
        super().__init__(f"code {code} is used up.")


class CodeUsedByBuyer(NoSlot):
    """The buyer has as many slots of the code as one buyer may have."""

    def __init__(self, code: str, max_uses: int) -> None:
        often = "once" if max_uses == 1 else f"{max_uses:,} times"
        super().__init__(f"each buyer can use code {code} {often}, and this buyer did.")


class BuyerUnknown(InvalidInput):
    """The code limits its uses by each buyer, and the order names no buyer."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the uses of code {code} are limited for each buyer; give the buyer's e-mail address.")


def find_code(session: Session, text: str, product_id: UUID, policy_id: UUID) -> DiscountCode:
    """Return the code with that text, in upper or lower case, if it can be used for the policy now.

    Raises:
        NotFound: there is no such code, or it was disabled.
        NotApplicable: it has expired, or is for another product or policy.
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
    if code.policy_ids and policy_id not in code.policy_ids:
        raise NotApplicable(f"code {wanted} is for another policy of the product.")
    return code


def discount_of(code: DiscountCode) -> Discount:
    """Return the code's effect on a price."""
    return Discount(code.code, code.kind, code.amount, code.currency)


def reserve(session: Session, code: DiscountCode, invoice_id: UUID, discount: int, buyer_email: str | None) -> UUID:
    """Take a slot for an invoice. `discount` is in the smallest unit. Returns the redemption's id.

    Raises:
        CodeUsedUp: no slot is left.
        CodeUsedByBuyer: no slot is left for this buyer.
        BuyerUnknown: the code limits its uses by each buyer, and there is no e-mail address.
    """
    buyer_hash = None if buyer_email is None else hashlib.sha256(same_buyer(buyer_email).encode()).digest()
    _take_slot(session, code.id, buyer_hash)
    redemption = Redemption(code_id=code.id, invoice_id=invoice_id, discount=discount, buyer_hash=buyer_hash)
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
    held = row.status == RedemptionStatus.RESERVED or _take_slot_again(session, row)
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


def _take_slot_again(session: Session, freed: Redemption) -> bool:
    try:
        _take_slot(session, freed.code_id, freed.buyer_hash)
    except (NoSlot, BuyerUnknown):
        return False
    return True


def _take_slot(session: Session, code_id: UUID, buyer_hash: bytes | None) -> None:
    """Count one more use of a code, under the lock of its row. Raises as `reserve`, and then wrote nothing."""
    locked = select(DiscountCode).where(DiscountCode.id == code_id).with_for_update(key_share=True)
    code = session.scalars(locked.execution_options(populate_existing=True)).one()
    if code.used_up:
        raise CodeUsedUp(code.code)
    if code.max_uses_per_buyer is not None:
        if buyer_hash is None:
            raise BuyerUnknown(code.code)
        # Each statement sees what was committed before it, so it sees the uses of all who had the lock before.
        if _uses_of(session, code_id, buyer_hash) >= code.max_uses_per_buyer:
            raise CodeUsedByBuyer(code.code, code.max_uses_per_buyer)
    code.uses += 1
    session.flush()


def _uses_of(session: Session, code_id: UUID, buyer_hash: bytes) -> int:
    mine = and_(Redemption.code_id == code_id, Redemption.buyer_hash == buyer_hash, Redemption.status.in_(HELD))
    return session.scalar(select(func.count()).where(mine)) or 0
