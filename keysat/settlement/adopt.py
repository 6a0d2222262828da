"""Adopt paid provider invoices whose rows are missing here, as after the restore of an old backup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from keysat.catalog.products import price_of
from keysat.models import Invoice, Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.epoch import current_epoch
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import FoundInvoice


def adopt_lost(
    session: Session, account: ProviderAccount, lost: Sequence[FoundInvoice]
) -> tuple[list[UUID], list[dict[str, Any]]]:
    """Write missing rows for paid invoices whose order id has the form of ours. Return their ids, and the orphans.

    The order id alone proves nothing, since shops let untrusted people choose it. An invoice is adopted only if it
    names the policy, as the ones we create do, and its price is the policy's price. The others are left to a person.
    """
    made, orphans = [], []
    for found in lost:
        policy_id = _policy_to_adopt(session, found)
        if policy_id is None:
            orphans.append(orphan(found, "it doesn't say what it is for, or not at the price of today"))
        elif (invoice_id := _write(session, account, found, policy_id)) is not None:
            made.append(invoice_id)
        else:
            theirs = found.created.provider_invoice_id
            orphans.append(orphan(found, f"invoice {theirs} of the provider belongs to another invoice here"))
    return made, orphans


def _policy_to_adopt(session: Session, found: FoundInvoice) -> tuple[UUID, UUID] | None:
    row = session.execute(
        select(Policy, Product).join(Product, Product.id == Policy.product_id).where(Policy.id == found.policy_id)
    ).one_or_none()
    if row is None:
        return None
    policy, product = row
    return (policy.id, product.id) if found.snapshot.charged == price_of(product, policy) else None


def _write(session: Session, account: ProviderAccount, found: FoundInvoice, ids: tuple[UUID, UUID]) -> UUID | None:
    policy_id, product_id = ids
    charged = found.snapshot.charged
    assert charged is not None
    assert found.snapshot.order_id is not None
    row = {
        "id": UUID(found.snapshot.order_id),
        "provider_account_id": account.id,
        "provider_invoice_id": found.created.provider_invoice_id,
        "checkout_url": found.created.checkout_url,
        "expires_at": found.created.expires_at,
        "product_id": product_id,
        "policy_id": policy_id,
        "status": InvoiceStatus.PENDING,
        "base_amount": charged.amount,
        "amount": charged.amount,
        "currency": charged.currency,
        "created_at": found.created_at or func.now(),
        "next_check_at": func.now(),
        "epoch": current_epoch().scalar_subquery() - 1,  # it may have been licensed, and its tip paid, before
    }
    written = session.scalar(insert(Invoice).values(row).on_conflict_do_nothing().returning(Invoice.id))
    if written is not None:
        audit(session, "sweep", "invoice.adopted", written, provider_invoice_id=found.created.provider_invoice_id)
    return written


def orphan(found: FoundInvoice, why: str) -> dict[str, Any]:
    """Describe a provider invoice that a person has to handle."""
    snapshot = found.snapshot
    return {
        "provider_invoice_id": snapshot.provider_invoice_id,
        "order_id": snapshot.order_id,
        "said": snapshot.provider_status,
        "paid": snapshot.paid and str(snapshot.paid),
        "why": why,
    }
