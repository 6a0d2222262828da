"""Check whether a tip may be paid now, in the transaction that commits to the payment."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.money import MSAT
from keysat.models import Invoice, License, Tip
from keysat.models.epoch import current_epoch, notice_restore
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus

OLDER_THAN_RESTORE = "its sale is older than a restore of the database, so it may have been paid before"


def objection(session: Session, tip: Tip) -> str | None:
    """Return why the tip may not be paid now, as a predicate, or None if it may.

    The invoice and license rows stay locked until the transaction ends, so a reversal happens entirely before or after.
    """
    invoice, status = session.execute(
        select(Invoice, License.status)
        .join(License, License.id == tip.license_id)
        .where(Invoice.id == tip.invoice_id)
        .with_for_update(read=True, of=[Invoice, License])
        .execution_options(populate_existing=True)
    ).one()
    if invoice.status != InvoiceStatus.SETTLED:
        return f"its invoice is {invoice.status}"
    if invoice.reversed:
        return "its sale was reversed"
    if invoice.in_review:
        return f"its invoice is in review ({invoice.review_reason})"
    if status != LicenseStatus.ACTIVE:
        return f"its license is {status}"
    earned = earned_by(session, invoice)
    if tip.amount_msat > earned * MSAT:
        return f"it is more than the {earned:,} sats that its sale brought in"
    return OLDER_THAN_RESTORE if is_older_than_restore(session, tip) else None


def earned_by(session: Session, invoice: Invoice) -> int:
    """Return what a sale brought in, by its own payment and the rests credited to it, at most its price."""
    rests = session.scalars(select(Invoice).where(Invoice.rest_of_id == invoice.id, Invoice.credited.is_not(None)))
    return min(invoice.amount, invoice.came_in + sum(earned_by(session, rest) for rest in rests))


def is_older_than_restore(session: Session, tip: Tip) -> bool:
    """Whether the database was restored since the tip's sale, or since a person last retried the tip."""
    notice_restore(session)
    return bool(tip.epoch < session.execute(current_epoch()).scalar_one())
