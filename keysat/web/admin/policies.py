"""Admin routes for a product's policies, including archived ones. Changes affect only licenses issued later."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field

from keysat.catalog import products
from keysat.catalog.changes import change_policy, require_policy
from keysat.catalog.products import add_policy, require_product
from keysat.catalog.terms import Display, Terms
from keysat.core.db import reading, transaction
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Amount, Entitlements, Machines, Number, Releases, Row
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Input, Line, Lines, Name, Slug
from keysat.web.products import ProductSlug

router = APIRouter(prefix="/products/{slug}/policies", tags=["admin: policies"], responses=documented(404))

PolicySlug = Annotated[Slug, Path(description="The policy's slug.")]
Duration = Annotated[int | None, Field(gt=0, le=10**9, description="Seconds; null = perpetual.")]


Recurring = Annotated[bool, Field(description="Licenses can be renewed for the same duration and price.")]
TrialDays = Annotated[int, Field(ge=0, le=1_830, description="Free at the beginning, once for each buyer.")]
NoticeDays = Annotated[
    list[Annotated[int, Field(ge=1, le=366)]],
    Field(max_length=10, description="How many days before its end the holder of a license gets notice."),
]
Hidden = Annotated[bool, Field(description="Shown to nobody. Those who know its slug can buy it.")]
Position = Annotated[int, Field(ge=-1_000_000, le=1_000_000, description="Lower comes first, as the default.")]
Bullets = Annotated[list[Name], Field(max_length=20, description="Lines that buyers read.")]


class NewPolicy(Input):
    """A new policy. The name defaults to the slug.

    A price overrides the product's, in the product's currency.

    `tip_pct_bps` hundredths of a percent of the payment go to the Lightning Address `tip_recipient`.
    """

    slug: Slug
    name: Line = ""
    description: Lines = ""
    duration_seconds: Duration = None
    grace_seconds: Number = 0
    is_recurring: Recurring = False
    trial_days: TrialDays = 0
    expiry_notice_days: NoticeDays = Field(default_factory=lambda: [14, 7, 1])
    max_machines: Machines = 1
    releases_per_seat: Releases = 3
    is_trial: bool = False
    entitlements: Entitlements = Field(default_factory=list)
    price_amount: Amount | None = None
    tip_recipient: Line | None = None
    tip_pct_bps: Annotated[int | None, Field(ge=1, le=10_000, description="500 = 5 %.")] = None
    tip_label: Line = ""
    hidden: Hidden = False
    position: Position = 0
    bullets: Bullets = Field(default_factory=list)


class PolicyChanges(Changes):
    """Changes to a policy. Fields left out stay unchanged. Null removes a limit, a price or a tip."""

    name: Name = UNCHANGED
    description: Lines = UNCHANGED
    duration_seconds: Duration = UNCHANGED
    grace_seconds: Number = UNCHANGED
    is_recurring: Recurring = UNCHANGED
    trial_days: TrialDays = UNCHANGED
    expiry_notice_days: NoticeDays = UNCHANGED
    max_machines: Machines = UNCHANGED
    releases_per_seat: Releases = UNCHANGED
    is_trial: bool = UNCHANGED
    entitlements: Entitlements = UNCHANGED
    price_amount: Amount | None = UNCHANGED
    tip_recipient: Line | None = UNCHANGED
    tip_pct_bps: Annotated[int | None, Field(ge=1, le=10_000, description="500 = 5 %.")] = UNCHANGED
    tip_label: Line = UNCHANGED
    highlighted: bool = UNCHANGED
    hidden: Hidden = UNCHANGED
    position: Position = UNCHANGED
    bullets: Bullets = UNCHANGED
    archived: bool = UNCHANGED


class PolicyRow(Row):
    """A stored policy."""

    id: UUID
    product_id: UUID
    slug: str
    name: str
    description: str
    duration_seconds: int | None
    grace_seconds: int
    is_recurring: bool
    trial_days: int
    expiry_notice_days: list[int]
    max_machines: int
    releases_per_seat: int
    is_trial: bool
    entitlements: list[str]
    price_amount: int | None
    tip_recipient: str | None
    tip_pct_bps: int | None
    tip_label: str
    highlighted: bool
    hidden: bool
    position: int
    bullets: list[str]
    created_at: datetime
    archived_at: datetime | None


@router.get("")
def list_policies(slug: ProductSlug, _: Reader) -> list[PolicyRow]:
    """List a product's policies in their order. The first that is neither archived nor hidden is the default."""
    with reading() as session:
        require_product(session, slug)
        rows = products.list_policies(session, slug)
    return [PolicyRow.model_validate(row) for row, _product in rows]


@router.post("", status_code=201, responses=documented(409))
def create_policy(slug: ProductSlug, body: NewPolicy, actor: Writer) -> PolicyRow:
    """Add a policy to a product."""
    facts = body.model_dump(exclude={"slug", "name", "description", "bullets", "position", "hidden"})
    tuples = {"entitlements": tuple(body.entitlements), "expiry_notice_days": tuple(body.expiry_notice_days)}
    terms = Terms(**{**facts, **tuples})
    display = Display(tuple(body.bullets), body.position, body.hidden)
    with transaction() as session:
        name = body.name or body.slug
        row = add_policy(session, slug, body.slug, name, terms, body.description, display, actor=actor)
        session.refresh(row)
    return PolicyRow.model_validate(row)


@router.get("/{policy}")
def get_policy(slug: ProductSlug, policy: PolicySlug, _: Reader) -> PolicyRow:
    """Get a policy."""
    with reading() as session:
        return PolicyRow.model_validate(require_policy(session, slug, policy))


@router.patch("/{policy}")
def update_policy(slug: ProductSlug, policy: PolicySlug, body: PolicyChanges, actor: Writer) -> PolicyRow:
    """Change a policy, or take it out of sale."""
    with transaction() as session:
        row = change_policy(session, slug, policy, body.changes(), actor)
    return PolicyRow.model_validate(row)
