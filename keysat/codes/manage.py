"""Add, find, recount and disable discount codes, for the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput, NotFound, require
from keysat.core.hints import Hint
from keysat.core.money import BASIS_POINTS, DECIMALS, MAX_AMOUNT
from keysat.core.texts import check_note
from keysat.models import DiscountCode, Policy, Product, Redemption
from keysat.models.audit import audit
from keysat.models.discount_code import CODE, HELD, CodeKind

_MAX_USES = 2**31 - 1


@dataclass(frozen=True)
class NewCode:
    """A code to add. By `kind`, `amount` is in basis points, sats or the smallest unit of `currency`, or 0 if free.

    `policies` are slugs of the product's policies.
    """

    code: str
    kind: CodeKind
    amount: int = 0
    currency: str = "BTC"
    max_uses: int | None = None
    product_id: UUID | None = None
    policies: tuple[str, ...] = ()
    max_uses_per_buyer: int | None = None
    featured: bool = False
    expires_at: datetime | None = None
    description: str = ""


def add_code(session: Session, new: NewCode, actor: str) -> DiscountCode:
    """Store a new code, in upper case.

    Raises:
        InvalidInput: a value is out of range, or has the wrong form.
        NotFound: the product has no such policy.
        Conflict: a code with that text exists.
    """
    code = new.code.strip().upper()
    if not re.fullmatch(CODE, code):
        raise InvalidInput(f"code {code!r} must be letters, digits, '.', '_' or '-', 63 at most.")
    _check(new.kind, new.amount, new.currency)
    check_note(new.description, "the description")
    check_limits(session, asdict(new))
    if session.scalar(select(DiscountCode.id).where(DiscountCode.code == code)) is not None:
        raise Conflict(f"there is a discount code {code} already; choose another one.")
    facts = {name: value for name, value in asdict(new).items() if name != "policies"}
    policy_ids = policy_ids_of(session, new.product_id, new.policies)
    row = DiscountCode(**{**facts, "code": code, "policy_ids": policy_ids})
    session.add(row)
    session.flush()
    session.refresh(row)
    audit(session, actor, "code.added", row.id, code=code, kind=str(new.kind), amount=new.amount)
    return row


def check_limits(session: Session, limits: Mapping[str, Any]) -> None:
    """Check the end of a code and its numbers of uses, as far as they are given. Raises `InvalidInput`."""
    end = limits.get("expires_at")
    if end is not None and session.scalar(select(literal(end) <= func.now())):
        raise InvalidInput(f"the code's last moment, {end:%Y-%m-%d %H:%M} UTC, has passed already.")
    for name, what in (("max_uses", "uses"), ("max_uses_per_buyer", "uses of each buyer")):
        number = limits.get(name)
        if number is not None and not 0 < number <= _MAX_USES:
            raise InvalidInput(f"the number of {what} must be 1 to {_MAX_USES:,}, or left out for no limit.")


def policy_ids_of(session: Session, product_id: UUID | None, slugs: Sequence[str]) -> list[UUID]:
    """Return the ids of a product's policies by their slugs, archived ones included.

    Raises:
        InvalidInput: the code is for all products.
        NotFound: the product has no such policy.
    """
    if slugs and product_id is None:
        raise InvalidInput("a code for some policies must be for one product; name the product, too.")
    found = select(Policy.slug, Policy.id).where(Policy.product_id == product_id, Policy.slug.in_(slugs))
    known = {row.slug: row.id for row in session.execute(found)}
    for slug in slugs:
        if slug not in known:
            product = session.scalar(select(Product.slug).where(Product.id == product_id))
            raise NotFound("policy", slug, Hint.LIST_POLICIES, product=product)
    return list(known.values())


def require_code(session: Session, code: str) -> DiscountCode:
    """Return the code with that text, in upper or lower case, disabled or not.

    Raises:
        NotFound: there is no such code.
    """
    wanted = code.strip().upper()
    row = session.scalar(select(DiscountCode).where(DiscountCode.code == wanted))
    return require(row, "discount code", wanted, Hint.LIST_CODES)


def recount(session: Session, code: str, actor: str) -> DiscountCode:
    """Set a code's counter to the number of its reserved and redeemed slots.

    Raises:
        NotFound: no such code.
    """
    row = require_code(session, code)
    session.execute(select(DiscountCode.id).where(DiscountCode.id == row.id).with_for_update())
    was, held = row.uses, Redemption.status.in_(HELD)
    row.uses = session.scalar(select(func.count()).where(Redemption.code_id == row.id, held)) or 0
    session.flush()
    audit(session, actor, "code.recounted", row.id, code=row.code, was=was, now=row.uses)
    return row


def disable_code(session: Session, code: str, actor: str) -> DiscountCode:
    """Refuse new purchases with the code. Slots that are reserved stay reserved."""
    row = require_code(session, code)
    session.execute(
        update(DiscountCode)
        .where(DiscountCode.id == row.id)
        .values(disabled_at=func.coalesce(row.disabled_at, func.now()))
    )
    session.refresh(row)
    audit(session, actor, "code.disabled", row.id, code=row.code)
    return row


def _check(kind: CodeKind, amount: int, currency: str) -> None:
    if currency not in DECIMALS:
        raise InvalidInput(f"currency {currency!r} is not supported; use one of {', '.join(DECIMALS)}.")
    if currency != "BTC" and kind is not CodeKind.SET_PRICE:
        raise InvalidInput(f"only a code that sets a price has a currency; leave it out for {kind}.")
    match kind:
        case CodeKind.PERCENT if not 0 < amount <= BASIS_POINTS:
            raise InvalidInput("a percentage must be 1 to 10,000 basis points: 2500 is 25 %.")
        case CodeKind.FREE_LICENSE if amount != 0:
            raise InvalidInput("a code for a free license has no amount.")
        case CodeKind.FIXED_SATS | CodeKind.SET_PRICE if not 0 < amount <= MAX_AMOUNT:
            raise InvalidInput("the amount must be at least 1 of the smallest unit.")
