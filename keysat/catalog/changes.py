"""Change the catalog: what buyers see and pay from now on. Existing licenses and invoices don't change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.catalog.products import require_product
from keysat.catalog.terms import Display, Terms, check_display, check_terms
from keysat.core.errors import InvalidInput, NotFound, require
from keysat.core.hints import Hint
from keysat.core.texts import check_name, check_note
from keysat.models import Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.product import SLUG

PRODUCT_FIELDS = {
    "name",
    "description",
    "price_amount",
    "price_currency",
    "entitlements_catalog",
    "account",
    "archived",
}
POLICY_FIELDS = {
    "name",
    "description",
    "duration_seconds",
    "grace_seconds",
    "is_recurring",
    "trial_days",
    "expiry_notice_days",
    "max_machines",
    "releases_per_seat",
    "is_trial",
    "entitlements",
    "price_amount",
    "tip_recipient",
    "tip_pct_bps",
    "tip_label",
    "highlighted",
    "hidden",
    "position",
    "bullets",
    "archived",
}


def change_product(session: Session, slug: str, changes: Mapping[str, Any], actor: str) -> Product:
    """Change columns of a product. `archived` true takes it out of sale, false puts it back.

    Raises:
        NotFound: no such product.
        InvalidInput: a value is invalid, such as an empty name, or the currency would change while policies have
            their own prices.
    """
    product = require_product(session, slug)
    _check(changes, PRODUCT_FIELDS)
    changes = _with_account(session, changes)
    currency = changes.get("price_currency", product.price_currency)
    overrides = select(Policy.id).where(Policy.product_id == product.id, Policy.price_amount.is_not(None)).limit(1)
    if currency != product.price_currency and session.scalar(overrides) is not None:
        raise InvalidInput(f"policies of {slug} have prices of their own in {product.price_currency}; take them out.")
    for entry in changes.get("entitlements_catalog", ()):
        if not re.fullmatch(SLUG, entry["slug"]):
            raise InvalidInput(f"entitlement {entry['slug']!r} must be lower-case letters, digits, '.', '_' or '-'.")
    _write(product, changes)
    session.flush()
    session.refresh(product)
    audit(session, actor, "product.changed", product.id, slug=slug, fields=sorted(changes))
    return product


def explain_entitlement(
    session: Session, slug: str, entitlement: str, name: str, description: str, actor: str
) -> Product:
    """Set the explanation of one of a product's entitlements. An empty name removes it.

    Raises as `change_product`.
    """
    known = require_product(session, slug).entitlements_catalog
    others = [entry for entry in known if entry["slug"] != entitlement]
    new = [{"slug": entitlement, "name": name, "description": description}] if name else []
    return change_product(session, slug, {"entitlements_catalog": others + new}, actor)


def change_policy(session: Session, product: str, slug: str, changes: Mapping[str, Any], actor: str) -> Policy:
    """Change columns of a policy. Licenses already issued keep their terms.

    Raises:
        NotFound: no such product or policy.
        InvalidInput: a term is out of range, or the name is empty.
    """
    policy = require_policy(session, product, slug)
    _check(changes, POLICY_FIELDS)
    _write(policy, changes)
    check_terms(Terms.of(policy))
    check_display(Display.of(policy))
    session.flush()
    session.refresh(policy)
    audit(session, actor, "policy.changed", policy.id, product=product, slug=slug, fields=sorted(changes))
    return policy


def require_policy(session: Session, product: str, slug: str) -> Policy:
    """Return a product's policy, archived or not.

    Raises:
        NotFound: no such product or policy.
    """
    wanted = select(Policy).where(Policy.product_id == require_product(session, product).id, Policy.slug == slug)
    return require(session.scalar(wanted), "policy", slug, Hint.LIST_POLICIES, product=product)


def _with_account(session: Session, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the changes with the account's name replaced by its id."""
    if "account" not in changes:
        return changes
    name, rest = changes["account"], {field: value for field, value in changes.items() if field != "account"}
    account_id = session.scalar(select(ProviderAccount.id).where(ProviderAccount.name == name))
    if name is not None and account_id is None:
        raise NotFound("provider account", name, Hint.LIST_ACCOUNTS)
    return {**rest, "provider_account_id": account_id}


def _write(row: Product | Policy, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if name == "archived":
            row.archived_at = (row.archived_at or func.now()) if value else None
        else:
            setattr(row, name, value)


def _check(changes: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(changes) - known):
        raise InvalidInput(f"{', '.join(unknown)} can't be changed; {', '.join(sorted(known))} can.")
    if "name" in changes:
        check_name(changes["name"])
    if "description" in changes:
        check_note(changes["description"], "the description")
