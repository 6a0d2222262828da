"""What is sold, as pages show it: a product with its price, and a policy as a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from markupsafe import Markup
from sqlalchemy.orm import Session

from keysat.catalog.products import is_on_sale, list_products, policies_of, price_of, require_product
from keysat.codes.report import featured_codes
from keysat.core.errors import Conflict, NotFound
from keysat.core.money import Money
from keysat.models import DiscountCode, Policy, Product
from keysat.models.discount_code import CodeKind
from keysat.sales.order import Order
from keysat.sales.quote import preview
from keysat.web.pages.language import Texts

_YEAR, _DAY, _HOUR = 365 * 86_400, 86_400, 3_600


@dataclass(frozen=True)
class Window:
    """A product on the first page, with its lowest price.

    `many`: it has policies of several prices. `free`: none of them is paid for.
    """

    slug: str
    name: str
    description: str
    lowest: Money
    many: bool
    free: bool


@dataclass(frozen=True)
class Card:
    """A policy to choose. `before` is its price without the code, or None. `contains` are names and explanations."""

    slug: str
    name: str
    description: str
    price: Money
    before: Money | None
    term: Markup
    machines: Markup
    contains: tuple[tuple[str, str], ...]
    is_trial: bool
    recurring: bool
    trial: Markup | None
    highlighted: bool
    bullets: tuple[str, ...]


class NotSold(NotFound):
    """The product was archived, which is for good, or has no policy that could be bought now."""

    def __init__(self, product: Product) -> None:
        self.name, self.archived = product.name, product.archived
        super().__init__("product on sale", product.slug)


def sold(session: Session, slug: str, named: str | None) -> tuple[Product, list[Policy]]:
    """Return a product on sale, and its policies, the default first. A hidden one is there only if `named`.

    Raises:
        NotFound: no such product.
        NotSold: it isn't sold now.
    """
    product = require_product(session, slug)
    policies = policies_of(session, product, named) if is_on_sale(product) else []
    if not policies:
        raise NotSold(product)
    return product, policies


def windows(session: Session) -> list[Window]:
    """Return the products on sale that have a policy. A trial's price counts only if there is nothing else."""
    found = []
    for product in list_products(session, on_sale=True):
        policies = policies_of(session, product)
        asked = [policy for policy in policies if not policy.is_trial] or policies
        prices = [price_of(product, policy) for policy in asked]
        if prices:
            lowest = min(prices, key=lambda price: price.amount)
            many, free = len(set(prices)) > 1, not any(price.amount for price in prices)
            found.append(Window(product.slug, product.name, product.description, lowest, many, free))
    return found


def cards(session: Session, texts: Texts, product: Product, policies: Sequence[Policy], code: str | None) -> list[Card]:
    """Return the policies as cards, with the price after a code where it can be used."""
    return [_card(session, texts, product, policy, code) for policy in policies]


def _card(session: Session, texts: Texts, product: Product, policy: Policy, code: str | None) -> Card:
    base = price_of(product, policy)
    try:
        price = preview(session, Order(product.slug, policy.slug, code)).price
    except (NotFound, Conflict):
        price = base
    return Card(
        slug=policy.slug,
        name=policy.name,
        description=policy.description,
        price=price,
        before=None if price == base else base,
        term=term_text(texts, policy.duration_seconds),
        machines=machines_text(texts, policy.max_machines),
        contains=tuple(named_entitlements(product, policy.entitlements)),
        is_trial=policy.is_trial,
        recurring=policy.is_recurring,
        trial=texts.count("term.trial", policy.trial_days) if policy.trial_days and code is None else None,
        highlighted=policy.highlighted,
        bullets=tuple(policy.bullets),
    )


def featured(session: Session, texts: Texts, product: Product) -> list[tuple[str, Markup]]:
    """Return the codes that everybody may use for the product, each with what it does in words."""
    found = [code.row for code in featured_codes(session, product.id) if code.fits(product.id, product.price_currency)]
    return [(row.code, _effect(texts, row)) for row in found if row.kind in set(CodeKind)]


def _effect(texts: Texts, code: DiscountCode) -> Markup:
    if code.kind == CodeKind.PERCENT:
        return texts("code.percent", percent=texts.decimal(Decimal(code.amount) / 100))
    return texts(f"code.{code.kind}", amount=texts.money(Money(code.amount, code.currency)))


def named_entitlements(product: Product, slugs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and the explanation of each entitlement from the product's catalog, or its slug."""
    known = {entry.get("slug"): entry for entry in product.entitlements_catalog}
    found = [known.get(slug, {}) for slug in slugs]
    return [
        (str(entry.get("name") or slug), str(entry.get("description") or ""))
        for slug, entry in zip(slugs, found, strict=True)
    ]


def term_text(texts: Texts, seconds: int | None) -> Markup:
    """Return how long a license is valid, in words."""
    if seconds is None:
        return texts("term.perpetual")
    unit, size = next(
        ((unit, size) for unit, size in (("years", _YEAR), ("days", _DAY)) if seconds % size == 0), ("hours", _HOUR)
    )
    return texts.count(f"term.{unit}", max(1, seconds // size))


def machines_text(texts: Texts, count: int) -> Markup:
    """Return on how many machines a license may be used, in words."""
    return texts.count("term.machines", count) if count else texts("term.machines_any")
