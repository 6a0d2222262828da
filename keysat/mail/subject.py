"""What a mail is about: the payment and its purchase, or the license, and whose addresses they have."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from keysat.core.errors import KeysatError
from keysat.models import ExpiryNotice, Invoice, License, Mail, Policy, Product
from keysat.models.holders import license_of_invoice, purchase_of
from keysat.models.license import LicenseStatus


class MailObsolete(KeysatError):
    """What a mail would report is no longer so."""


@dataclass(frozen=True)
class Subject:
    """What a mail is about. A license that was granted by hand has no invoice."""

    mail: Mail
    invoice: Invoice | None
    purchase: Invoice | None
    license: License | None
    product: Product
    policy: Policy
    notice: ExpiryNotice | None = None

    @property
    def sold(self) -> Invoice:
        """The invoice of a mail about a payment."""
        assert self.invoice is not None
        return self.invoice

    @property
    def reference(self) -> str:
        """What a buyer names in a question: the purchase, or the license if there was none."""
        row = self.purchase or self.license
        assert row is not None
        return str(row.id)

    @property
    def has_page(self) -> bool:
        """Whether the page of the purchase is the holder's."""
        return self.purchase is not None and (self.license is None or self.license.transferred_at is None)

    @property
    def buyer_address(self) -> str | None:
        """The buyer's present address."""
        return buyer_address(None if self.invoice is None else self.invoice.buyer_email, self.license)

    @property
    def holder_address(self) -> str | None:
        """The address of the license's holder."""
        email = None if self.invoice is None else self.invoice.buyer_email
        return email if self.license is None else self.license.holder(email)

    def active(self) -> License:
        """Return the license. Raises MailObsolete if it was withdrawn."""
        if self.license is None or self.license.status != LicenseStatus.ACTIVE:
            raise MailObsolete("the license is withdrawn")
        return self.license


def read_subject(session: Session, mail: Mail) -> Subject:
    """Read what a mail about a payment or a license is about."""
    invoice = None if mail.invoice_id is None else session.get_one(Invoice, mail.invoice_id, populate_existing=True)
    if mail.license_id is not None:
        row: License | None = session.get_one(License, mail.license_id, populate_existing=True)
    else:
        row = None if invoice is None else license_of_invoice(session, invoice)
    about = invoice or row
    assert about is not None
    product, policy = session.get_one(Product, about.product_id), session.get_one(Policy, about.policy_id)
    purchase = None if invoice is None else purchase_of(session, invoice)
    return Subject(mail, invoice, purchase, row, product, policy, session.get(ExpiryNotice, mail.subject_id))


def buyer_address(buyer_email: str | None, row: License | None) -> str | None:
    """Return the buyer's present address. While the buyer holds the license, that is the holder's, which may be new."""
    return buyer_email if row is None or row.transferred_at is not None else row.holder(buyer_email)
