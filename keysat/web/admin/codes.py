"""Admin routes for discount codes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field

from keysat.catalog.products import require_product
from keysat.codes import manage, report
from keysat.codes.edit import change_code
from keysat.codes.manage import NewCode, add_code, require_code
from keysat.core.db import reading, transaction
from keysat.models.discount_code import CodeKind
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Amount, Before, Limit, Row
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Currency, Input, Line, Moment, Slug

router = APIRouter(prefix="/codes", tags=["admin: codes"])

CodeText = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
WhichCode = Annotated[CodeText, Path(description="The code, in any case.")]


MaxUses = Annotated[int | None, Field(gt=0, le=2**31 - 1, description="null = unlimited.")]
Policies = Annotated[
    list[Slug], Field(max_length=100, description="Slugs of the product's policies that it is for; empty = all.")
]


class CodeRequest(Input):
    """A code. Depending on `kind`, `amount` is in basis points, sats or the smallest unit of `currency`. 0 if free."""

    code: CodeText
    kind: CodeKind
    amount: Amount = 0
    currency: Currency = "BTC"
    max_uses: MaxUses = None
    product: Slug | None = None
    policies: Policies = Field(default_factory=list)
    max_uses_per_buyer: MaxUses = None
    featured: bool = False
    expires_at: Moment | None = None
    description: Line = ""


class CodeChanges(Changes):
    """Changes to a code. Fields left out stay unchanged. Null removes a limit. Kind and amount never change."""

    max_uses: MaxUses = UNCHANGED
    policies: Policies = UNCHANGED
    max_uses_per_buyer: MaxUses = UNCHANGED
    featured: bool = UNCHANGED
    expires_at: Moment | None = UNCHANGED
    description: Line = UNCHANGED


class CodeRow(Row):
    """A stored code. `uses` is the number of slots in use.

    `policy_ids` are the only policies it is for, if any. One buyer, by e-mail address, may have `max_uses_per_buyer`
    slots. A `featured` code is shown to everybody.
    """

    id: UUID
    code: str
    kind: CodeKind | str
    amount: int
    currency: str
    max_uses: int | None
    uses: int
    product_id: UUID | None
    policy_ids: list[UUID]
    max_uses_per_buyer: int | None
    featured: bool
    description: str
    created_at: datetime
    expires_at: datetime | None
    disabled_at: datetime | None


class CodeDetails(CodeRow):
    """A code and the number of its redemptions per status."""

    redemptions: dict[str, int]


@router.get("")
def list_codes(_: Reader, limit: Limit = 50, before: Before = None) -> list[CodeRow]:
    """List codes, newest first."""
    with reading() as session:
        return [CodeRow.model_validate(found.row) for found in report.list_codes(session, limit, before)]


@router.post("", status_code=201, responses=documented(404, 409))
def create_code(body: CodeRequest, actor: Writer) -> CodeRow:
    """Add a code."""
    facts = {**body.model_dump(exclude={"product"}), "policies": tuple(body.policies)}
    with transaction() as session:
        product_id = None if body.product is None else require_product(session, body.product).id
        row = add_code(session, NewCode(**facts, product_id=product_id), actor)
    return CodeRow.model_validate(row)


@router.get("/{code}", responses=documented(404))
def get_code(code: WhichCode, _: Reader) -> CodeDetails:
    """Get a code and its redemptions."""
    with reading() as session:
        row = require_code(session, code)
        return CodeDetails(**CodeRow.model_validate(row).model_dump(), redemptions=report.slots(session, row.id))


@router.patch("/{code}", responses=documented(404, 409))
def update_code(code: WhichCode, body: CodeChanges, actor: Writer) -> CodeRow:
    """Change a code for new purchases. Slots that are taken stay taken."""
    with transaction() as session:
        row = change_code(session, code, body.changes(), actor)
    return CodeRow.model_validate(row)


@router.post("/{code}/disable", responses=documented(404))
def disable_code(code: WhichCode, actor: Writer) -> CodeRow:
    """Disable a code for new purchases."""
    with transaction() as session:
        row = manage.disable_code(session, code, actor)
    return CodeRow.model_validate(row)
