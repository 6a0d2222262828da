"""Who holds a license, by e-mail address, and which license and purchase an invoice is for."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, func, select, union
from sqlalchemy.orm import Session

from keysat.models.invoice import Invoice
from keysat.models.license import License


def held_by(email: str) -> ColumnElement[bool]:
    """The condition that a license's holder has that e-mail address, in any case.

    That is the address of the license, or that of the invoice's buyer if the license has none of its own and was never
    transferred.
    """
    wanted = func.lower(email.strip())
    own = select(License.id).where(func.lower(License.holder_email) == wanted)
    bought = (
        select(License.id)
        .join(Invoice, Invoice.id == License.invoice_id)
        .where(License.holder_email.is_(None), License.transferred_at.is_(None))
        .where(func.lower(Invoice.buyer_email) == wanted)
    )
    return License.id.in_(union(own, bought).subquery().select())


def is_holder(session: Session, email: str) -> bool:
    """Return whether an e-mail address is that of a license's holder."""
    return session.scalar(select(exists().where(held_by(email)))) or False


def holder_email(session: Session, row: License) -> str | None:
    """Return the e-mail address of a license's holder, or None if none is known."""
    return row.holder(session.scalar(select(Invoice.buyer_email).where(Invoice.id == row.invoice_id)))


def license_of_invoice(session: Session, invoice: Invoice) -> License | None:
    """Return the license that was issued for an invoice, or that it renewed, or None."""
    if invoice.target_license_id is not None:
        return session.get_one(License, invoice.target_license_id) if invoice.fulfilled else None
    return session.scalar(select(License).where(License.invoice_id == invoice.id))


def license_for_buyer(session: Session, invoice: Invoice) -> License | None:
    """Return the license of a purchase or a renewal, unless it was transferred to another holder since."""
    owned = license_of_invoice(session, invoice)
    return owned if owned is None or owned.belongs_to(invoice.created_at) else None


def purchase_of(session: Session, invoice: Invoice) -> Invoice:
    """Return the purchase that an invoice belongs to: itself, or the one that it completes as a rest."""
    return invoice if invoice.rest_of_id is None else purchase_of(session, session.get_one(Invoice, invoice.rest_of_id))
