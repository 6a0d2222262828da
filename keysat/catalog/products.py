"""The catalog: products, and the policies they are licensed under."""

from __future__ import annotations

import re

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from keysat.catalog.terms import Display, Terms, check_display, check_terms
from keysat.core.errors import Conflict, InvalidInput, NotFound, require
from keysat.core.hints import Hint
from keysat.core.money import DECIMALS, Money
from keysat.core.texts import check_name, check_note
from keysat.models import Policy, Product
from keysat.models.audit import audit
from keysat.models.product import SLUG


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
    display: Display | None = None,
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
    shown = display or Display()
    check_display(shown)
    product = require_product(session, product_slug)
    taken = select(Policy).where(Policy.product_id == product.id, Policy.slug == slug)
    if session.scalar(taken) is not None:
        raise Conflict(f"{product_slug} has a policy {slug} already; choose another slug.")
    policy = Policy(
        product_id=product.id,
        slug=slug,
        name=name,
        description=description,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in vars(terms).items()},
        **{**vars(shown), "bullets": list(shown.bullets)},
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
