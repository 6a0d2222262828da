"""Store unopened invoices, rows without a provider invoice id yet, and adopt the provider's invoice by our id in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, sql, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.errors import RemoteResponseInvalid
from keysat.core.money import Money
from keysat.invoices.schedule import STEPS
from keysat.models import Invoice, Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import CreatedInvoice, FoundInvoice, ProviderStatus
from keysat.queue.outbox import EventType, emit_invoice

FIRST_CHECK = STEPS[InvoiceStatus.PENDING][0].every
# By then, an invoice that the provider created without our knowledge has expired. No buyer saw its checkout URL.
DRAFT_LIFE = timedelta(minutes=20)
# Longer than finding and creating the invoice may take. Until then, another process may still be creating it.
IN_PROGRESS = timedelta(seconds=75)


@dataclass(frozen=True)
class Draft:
    """The content of a new invoice. A free one has no account. `base` is the price before the discount.

    `target_license_id` is the license that it renews. `trial_days` is how long a trial lasts.
    """

    account: ProviderAccount | None
    product: Product
    policy: Policy
    base: Money
    price: Money
    buyer_email: str | None = None
    buyer_note: str | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None
    target_license_id: UUID | None = None
    trial_days: int | None = None


def write(session: Session, draft: Draft) -> Invoice:
    """Store an invoice as pending, with its first check in 30 seconds. A free one (no account) is stored as settled."""
    now = session.scalars(select(func.now())).one()
    invoice = Invoice(
        id=uuid7(),
        provider_account_id=draft.account and draft.account.id,
        product_id=draft.product.id,
        policy_id=draft.policy.id,
        status=InvoiceStatus.PENDING if draft.account else InvoiceStatus.SETTLED,
        base_amount=draft.base.amount,
        amount=draft.price.amount,
        currency=draft.price.currency,
        buyer_email=draft.buyer_email,
        buyer_note=draft.buyer_note,
        idempotency_key=draft.idempotency_key,
        request_hash=draft.request_hash,
        target_license_id=draft.target_license_id,
        trial_days=draft.trial_days,
        settled_at=None if draft.account else now,
        next_check_at=now + FIRST_CHECK,
    )
    session.add(invoice)
    session.flush()
    return invoice


def best(found: Sequence[FoundInvoice]) -> FoundInvoice | None:
    """Return which of the provider's invoices for one order to adopt: the one paid most, else one that can be paid."""

    def worth(invoice: FoundInvoice) -> tuple[int, bool]:
        paid = invoice.snapshot.paid
        return 0 if paid is None else paid.amount, invoice.snapshot.status is ProviderStatus.PENDING

    return max(found, key=worth, default=None)


def adopt(session: Session, invoice_id: UUID, account_id: UUID, created: CreatedInvoice) -> None:
    """Store the provider invoice id of an unopened invoice. One that was adopted before is unchanged.

    Raises:
        RemoteResponseInvalid: the provider invoice belongs to another row of ours.
    """
    same = select(Invoice.id).where(
        Invoice.provider_account_id == account_id,
        Invoice.provider_invoice_id == created.provider_invoice_id,
        Invoice.id != invoice_id,
    )
    if session.scalar(same) is not None:
        raise RemoteResponseInvalid(
            f"the provider answered with invoice {created.provider_invoice_id}, made before; nothing was stored."
        )
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.provider_invoice_id.is_(None))
        .values(
            provider_invoice_id=created.provider_invoice_id,
            checkout_url=created.checkout_url,
            expires_at=created.expires_at,
            next_check_at=func.coalesce(Invoice.next_check_at, func.now() + FIRST_CHECK),  # check it even if closed
        )
    )


def close(session: Session, invoice_id: UUID, why: str, actor: str) -> bool:
    """Close an unopened invoice that the provider refused. Return False if it was adopted or closed before."""
    return _close(session, invoice_id, sql.true(), why, actor)


def close_unasked(session: Session, invoice_id: UUID, actor: str) -> bool:
    """Close an unopened invoice that the provider never created.

    Return False if it was adopted or closed before, or if another process may be creating it.
    """
    idle = Invoice.asked_at < func.now() - IN_PROGRESS
    return _close(session, invoice_id, idle, "it was never made", actor)


def _close(session: Session, invoice_id: UUID, allowed: ColumnElement[bool], why: str, actor: str) -> bool:
    closed = session.scalar(
        update(Invoice)
        .where(
            Invoice.id == invoice_id,
            Invoice.provider_invoice_id.is_(None),
            Invoice.status == InvoiceStatus.PENDING,
            allowed,
        )
        .values(status=InvoiceStatus.INVALID, next_check_at=None, last_error=None, error_count=0)
        .returning(Invoice.id)
    )
    if closed is not None:
        emit_invoice(session, EventType.INVOICE_INVALID, invoice_id)
        audit(session, actor, "invoice.invalid", invoice_id, why=why)
    return closed is not None
