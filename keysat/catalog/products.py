"""The catalog: products, and the policies they are licensed under."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput, NotFound, require
from keysat.core.hints import Hint
from keysat.core.money import BASIS_POINTS, DECIMALS, Money
from keysat.core.settings import load_settings
from keysat.core.texts import check_entitlements, check_line, check_name, check_note
from keysat.models import Policy, Product
from keysat.models.audit import audit
from keysat.models.product import SLUG
from keysat.net.lightning_address import parse_address

_MAX_BULLETS, _MAX_POSITION = 20, 1_000_000


@dataclass(frozen=True)
class Terms:
    """A policy's terms: seconds, no duration = perpetual, 0 machines = unlimited, price in the product's currency.

    `is_recurring` licenses can be renewed for the same duration and price. They need a duration.

    A license's holder may free `releases_per_seat` seats in 30 days for each seat of the license.

    `tip_pct_bps` hundredths of a percent of the payment go to the Lightning Address `tip_recipient`.
    """

    duration_seconds: int | None = None
    grace_seconds: int = 0
    is_recurring: bool = False
    max_machines: int = 1
    releases_per_seat: int = 3
    is_trial: bool = False
    entitlements: tuple[str, ...] = ()
    price_amount: int | None = None
    tip_recipient: str | None = None
    tip_pct_bps: int | None = None
    tip_label: str = ""

    @classmethod
    def of(cls, policy: Policy) -> Terms:
        """Return the terms of a stored policy."""
        return cls(**{field.name: getattr(policy, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Display:
    """How a policy is shown: its bullets, its place among the others, or not at all. It is sold all the same."""

    bullets: tuple[str, ...] = ()
    position: int = 0
    hidden: bool = False

    @classmethod
    def of(cls, policy: Policy) -> Display:
        """Return how a stored policy is shown."""
        return cls(tuple(policy.bullets), policy.position, policy.hidden)


def add_product(session: Session, slug: str, name: str, price: Money, description: str = "", *, actor: str) -> Product:
    """Store a new product.

    Raises:
        InvalidInput: the slug has the wrong form.
        Conflict: the slug is taken.
    """
    _check_slug(slug)
    check_name(name)
    check_note(description, "the description")
    if session.scalar(select(Product).where(Product.slug == slug)) is not None:
        raise Conflict(f"there is a product {slug} already; choose another slug.")
    product = Product(
        slug=slug,
        name=name,
        description=description,
        price_amount=price.amount,
        price_currency=price.currency,
    )
    session.add(product)
    session.flush()
    audit(session, actor, "product.added", product.id, slug=slug, price=str(price))
    return product


def list_products(session: Session, *, on_sale: bool = False) -> list[Product]:
    """Return all products, or those on sale, oldest first."""
    rows = session.scalars(select(Product).order_by(Product.id))
    return [row for row in rows if not on_sale or is_on_sale(row)]


def is_on_sale(product: Product) -> bool:
    """Whether a product is sold: it isn't archived, and this version knows its currency."""
    return not product.archived and product.price_currency in DECIMALS


def require_product(session: Session, slug: str) -> Product:
    """Return the product with that slug.

    Raises:
        NotFound: no such product.
    """
    product = session.scalar(select(Product).where(Product.slug == slug))
    return require(product, "product", slug, Hint.LIST_PRODUCTS)


def add_policy(
    session: Session,
    product_slug: str,
    slug: str,
    name: str,
    terms: Terms,
    description: str = "",
    display: Display = Display(),
    *,
    actor: str,
) -> Policy:
    """Store a new policy for a product.

    Raises:
        InvalidInput: a term is out of range, or the slug has the wrong form.
        NotFound: no such product.
        Conflict: the product has a policy with that slug.
    """
    _check_slug(slug)
    check_name(name)
    check_note(description, "the description")
    check_terms(terms)
    check_display(display)
    product = require_product(session, product_slug)
    taken = select(Policy).where(Policy.product_id == product.id, Policy.slug == slug)
    if session.scalar(taken) is not None:
        raise Conflict(f"{product_slug} has a policy {slug} already; choose another slug.")
    policy = Policy(
        product_id=product.id,
        slug=slug,
        name=name,
        description=description,
        **{**vars(terms), "entitlements": list(terms.entitlements)},
        **{**vars(display), "bullets": list(display.bullets)},
    )
    session.add(policy)
    session.flush()
    audit(session, actor, "policy.added", policy.id, product=product_slug, slug=slug)
    return policy


def choose_policy(session: Session, product_slug: str, policy_slug: str | None) -> tuple[Product, Policy]:
    """Return a product on sale and its policy with that slug, hidden or not. Without a slug, return the default.

    Raises:
        NotFound: no such product or policy, or it was archived.
    """
    product = require_product(session, product_slug)
    if product.archived:
        raise NotFound("product", product_slug, Hint.UNARCHIVE_PRODUCT, product=product_slug)
    policies = policies_of(session, product, policy_slug)
    policy = next((candidate for candidate in policies if policy_slug in {None, candidate.slug}), None)
    wanted = policy_slug or f"of {product_slug}"
    return product, require(policy, "policy", wanted, Hint.ADD_POLICY, product=product_slug)


def policies_of(session: Session, product: Product, named: str | None = None) -> list[Policy]:
    """Return a product's policies that are shown, in their order, the default first; and the one with the slug `named`.

    Archived policies are left out.
    """
    shown = or_(~Policy.hidden, Policy.slug == named)
    wanted = select(Policy).where(Policy.product_id == product.id, ~Policy.archived, shown)
    return list(session.scalars(wanted.order_by(Policy.position, Policy.id)))


def list_policies(session: Session, product_slug: str | None = None) -> list[tuple[Policy, Product]]:
    """Return all policies, or those of a product, each with its product, by its slug and then in their order."""
    wanted = select(Policy, Product).join(Product).order_by(Product.slug, Policy.position, Policy.id)
    if product_slug is not None:
        wanted = wanted.where(Product.slug == product_slug)
    return [(policy, product) for policy, product in session.execute(wanted)]


def price_of(product: Product, policy: Policy) -> Money:
    """Return the price of a license under the policy: the policy's own price, or the product's."""
    return Money(amount_of(product, policy), product.price_currency)


def amount_of(product: Product, policy: Policy) -> int:
    """Return that price in the smallest unit of the product's currency."""
    return product.price_amount if policy.price_amount is None else policy.price_amount


def _check_slug(slug: str) -> None:
    if not re.fullmatch(SLUG, slug):
        raise InvalidInput(f"slug {slug!r} must be lower-case letters, digits, '.', '_' or '-', 63 at most.")


def check_terms(terms: Terms) -> None:
    """Check that a policy's terms are in range. Raises `InvalidInput`."""
    if terms.duration_seconds is not None and not 0 < terms.duration_seconds <= 10**9:
        raise InvalidInput("a duration must be 1 to 1,000,000,000 seconds, or left out for a perpetual license.")
    if terms.is_recurring and terms.duration_seconds is None:
        raise InvalidInput("a recurring policy needs a duration: that is the period of each renewal.")
    if not 0 <= terms.grace_seconds <= 10**9:
        raise InvalidInput("a grace period must be 0 to 1,000,000,000 seconds.")
    if not 0 <= terms.max_machines <= 10**6:
        raise InvalidInput("the number of machines must be 0 (unlimited) to 1,000,000.")
    if not 0 <= terms.releases_per_seat <= 1_000:
        raise InvalidInput("the number of releases for each seat must be 0 to 1,000.")
    if terms.price_amount is not None and terms.price_amount < 0:
        raise InvalidInput("a price can't be negative.")
    _check_tip(terms)
    check_entitlements(terms.entitlements)


def check_display(display: Display) -> None:
    """Check that a policy's bullets are lines of text, and its place is in range. Raises `InvalidInput`."""
    if len(display.bullets) > _MAX_BULLETS:
        raise InvalidInput(f"a policy can have {_MAX_BULLETS} bullets at most.")
    for bullet in display.bullets:
        check_name(bullet, "a bullet")
    if abs(display.position) > _MAX_POSITION:
        raise InvalidInput(f"a policy's position must be {-_MAX_POSITION:,} to {_MAX_POSITION:,}.")


def _check_tip(terms: Terms) -> None:
    if (terms.tip_recipient is None) != (terms.tip_pct_bps is None):
        raise InvalidInput(
            "a tip needs both a recipient, as dev@example.com, and a share, as 500 basis points for 5 %."
        )
    if terms.tip_recipient is not None:
        parse_address(terms.tip_recipient, allow_local=bool(load_settings().tip_allowed_networks))
    if terms.tip_pct_bps is not None and not 0 < terms.tip_pct_bps <= BASIS_POINTS:
        raise InvalidInput("a tip's share must be 1 to 10,000 basis points: 500 is 5 %.")
    check_line(terms.tip_label, "the tip's label")
