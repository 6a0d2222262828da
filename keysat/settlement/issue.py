"""Fulfill a settled invoice by its purpose, exactly once and in one transaction, with its event, mail and tip.

A purchase gets a license, a renewal extends one, and the rest of a short payment is credited. A uniqueness constraint
for each prevents duplicates, as `UNIQUE(licenses.invoice_id)`: the second transaction inserts nothing.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.catalog.products import price_of
from keysat.codes.reserve import redeem
from keysat.core import metrics
from keysat.core.errors import NotPaid, require
from keysat.core.hints import Hint
from keysat.core.money import Money
from keysat.mail.owe import owe_receipt
from keysat.models import Invoice, License, Policy, Product
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, Purpose
from keysat.models.license import LicenseSource
from keysat.queue.outbox import EventType, emit_license
from keysat.settlement.renew import fulfill_renewal
from keysat.settlement.rest import credit
from keysat.subscriptions import terms
from keysat.tips.create import create_tip


def issue(session: Session, invoice_id: UUID, signer_id: str, actor: str) -> UUID | None:
    """Write the license of a settled purchase, or extend that of a renewal. Return its id, or None if done before.

    The rest of a short payment gets no license. It is credited to the invoice that it completes.

    Raises:
        NotFound: no such invoice.
        NotPaid: the invoice isn't settled, was reversed, or is in review. Nothing is written.
    """
    invoice, policy, now = _lock_settled(session, invoice_id)
    match invoice.purpose:
        case Purpose.REST:
            credit(session, invoice, actor)
            return None
        case Purpose.RENEWAL:
            return fulfill_renewal(session, invoice, policy, now, actor)
        case Purpose.PURCHASE:
            return _issue(session, invoice, policy, signer_id, now, actor)


def _issue(
    session: Session, invoice: Invoice, policy: Policy, signer_id: str, now: datetime, actor: str
) -> UUID | None:
    license_id = session.scalar(
        insert(License)
        .values(
            id=uuid7(),
            invoice_id=invoice.id,
            product_id=invoice.product_id,
            policy_id=policy.id,
            source=LicenseSource.PURCHASE,
            signer=signer_id,
            **policy.terms(now, invoice.trial_days),
        )
        .on_conflict_do_nothing(index_elements=[License.invoice_id])
        .returning(License.id)
    )
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice.id, ~Invoice.fulfilled)
        .values(fulfilled_at=func.now(), next_check_at=None)
    )
    redeem(session, invoice.id, actor)
    if license_id is not None:
        row, price = session.get_one(License, license_id), _price_of_renewals(session, invoice, policy)
        terms.start(session, row, policy, price, invoice.provider_account_id)
        emit_license(session, EventType.LICENSE_ISSUED, license_id)
        owe_receipt(session, invoice.id, license_id)
        create_tip(session, invoice, policy, license_id, actor)
        audit(session, actor, "license.issued", license_id, invoice_id=str(invoice.id), policy=policy.slug)
        metrics.licenses_issued.labels(LicenseSource.PURCHASE).inc()
        paid_at = invoice.paid_at or invoice.settled_at or now
        metrics.payment_to_license.labels(LicenseSource.PURCHASE).observe((now - paid_at).total_seconds())
    return license_id


def _price_of_renewals(session: Session, invoice: Invoice, policy: Policy) -> Money:
    """Return the price before the discount. That of a trial is what its policy costs now."""
    if invoice.trial_days is None:
        return Money(invoice.base_amount, invoice.currency)
    return price_of(session.get_one(Product, invoice.product_id), policy)


def _lock_settled(session: Session, invoice_id: UUID) -> tuple[Invoice, Policy, datetime]:
    """Read the invoice under a lock, so that a reversal happens entirely before or after."""
    row = session.execute(
        select(Invoice, Policy, func.now())
        .join(Policy, Policy.id == Invoice.policy_id)
        .where(Invoice.id == invoice_id)
        .with_for_update(of=Invoice)
    ).one_or_none()
    invoice, policy, now = require(row, "invoice", invoice_id, Hint.LIST_INVOICES)
    if invoice.reversed:
        raise NotPaid(invoice_id, "reversed")
    if invoice.status != InvoiceStatus.SETTLED:
        raise NotPaid(invoice_id, invoice.status)
    if not invoice.fulfilled and invoice.in_review:
        raise NotPaid(invoice_id, f"in review ({invoice.review_reason})")
    return invoice, policy, now
