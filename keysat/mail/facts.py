"""What a mail is about, read before each attempt: the address, and what its template shows.

That are names, amounts, links and the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.errors import KeysatError, SettingsError
from keysat.core.money import Money
from keysat.core.secrets import unseal
from keysat.core.settings import Settings
from keysat.models import Invoice, License, Mail, Policy, Product
from keysat.models.holders import is_holder, license_of_invoice
from keysat.models.invoice_status import InvoiceStatus, money_is_missing
from keysat.models.license import LicenseStatus
from keysat.models.mail import MailKind

Facts = dict[str, object]


class KeyMaker(Protocol):
    """Derives what opens a purchase. The signing key is one."""

    def key_for(self, row: License) -> str:
        """Return the license key of a row."""
        ...

    def purchase_token(self, invoice_id: UUID) -> str:
        """Return the token of the buyer's page."""
        ...


class MailObsolete(KeysatError):
    """What a mail would report is no longer so."""


@dataclass(frozen=True)
class MailFacts:
    """The present address of a mail's recipient, and the values that its template shows.

    `digest` differs whenever a message that was made before must not be sent any more, as after its key changed. Names
    and links don't count, so that each attempt sends the same message.
    """

    recipient: str
    shown: Facts
    digest: bytes


def seller_facts(settings: Settings) -> Facts:
    """Return who sells, and where buyers get help."""
    host = urlsplit(settings.url).hostname or settings.url
    return {"seller": settings.seller_name or host, "support": settings.support_address or host}


def read_facts(session: Session, mail: Mail, keys: KeyMaker, settings: Settings, box: MultiFernet) -> MailFacts:
    """Return what a mail says at present, and to whom.

    Raises:
        MailObsolete: what it reports is no longer so.
        SettingsError: the license was signed with another key, or the link was encrypted with another one.
    """
    facts = seller_facts(settings)
    if mail.kind == MailKind.RECOVERY:
        if mail.sealed_link is None:
            raise MailObsolete("the link is gone")
        if not is_holder(session, mail.recipient):
            raise MailObsolete("the address holds no license")
        path = unseal(box, mail.sealed_link, f"mail {mail.id}", "path")["path"]
        shown = {**facts, "link": f"{settings.url}{path}", "valid_until": mail.useful_until}
        return MailFacts(mail.recipient, shown, _digest(mail.recipient, {"path": path}))
    if mail.kind not in _ABOUT:
        raise SettingsError(f"mail {mail.id} is of the kind {mail.kind}, which this version doesn't know.")
    invoice, product, policy = session.execute(
        select(Invoice, Product, Policy)
        .join(Product, Product.id == Invoice.product_id)
        .join(Policy, Policy.id == Invoice.policy_id)
        .where(Invoice.id == mail.invoice_id)
    ).one()
    row = license_of_invoice(session, invoice)
    about = _ABOUT[mail.kind](invoice, row, keys)
    recipient = buyer_address(invoice.buyer_email, row)
    if row is not None and mail.kind in _TO_HOLDERS:
        recipient = row.holder(invoice.buyer_email)
    if recipient is None:
        raise MailObsolete("its recipient has no address any more")
    page = f"{settings.url}/p/{keys.purchase_token(invoice.id)}"
    shown = {**facts, "product": product.name, "policy": policy.name, "page": page, **about}
    return MailFacts(recipient, shown, _digest(recipient, about))


def buyer_address(buyer_email: str | None, row: License | None) -> str | None:
    """Return the buyer's present address. While the buyer holds the license, that is the holder's, which may be new."""
    return buyer_email if row is None or row.transferred_at is not None else row.holder(buyer_email)


def _digest(recipient: str, about: Facts) -> bytes:
    """Return a SHA-256. What must stay secret of the facts has more than 128 random bits."""
    return hashlib.sha256(json.dumps([recipient, about], default=str, sort_keys=True).encode()).digest()


def _receipt(invoice: Invoice, row: License | None, keys: KeyMaker) -> Facts:
    if row is None or row.status != LicenseStatus.ACTIVE:
        raise MailObsolete("the license is withdrawn")
    if row.transferred_at is not None:
        raise MailObsolete("the license was transferred")
    price = Money(invoice.came_in + invoice.rest_paid, invoice.currency)
    return {
        "key": keys.key_for(row),
        "price": price if price.amount else None,
        "bought_at": row.issued_at,
        "valid_until": row.expires_at,
        "machines": row.max_machines,
        "entitlements": ", ".join(row.entitlements),
        "invoice_id": str(invoice.id),
    }


def _seen(invoice: Invoice, _row: License | None, _keys: KeyMaker) -> Facts:
    if invoice.status == InvoiceStatus.SETTLED:
        raise MailObsolete("the payment is confirmed")
    if invoice.status != InvoiceStatus.PENDING or invoice.review_reason is not None:
        raise MailObsolete("the payment no longer waits for its confirmation")
    return _amounts(invoice)


def _short(invoice: Invoice, _row: License | None, _keys: KeyMaker) -> Facts:
    if not invoice.in_review:
        raise MailObsolete("the review is over")
    paid = None if invoice.paid_amount is None else invoice.paid_amount + invoice.rest_paid
    if not money_is_missing(invoice.review_reason, paid, invoice.amount):
        raise MailObsolete("no money is missing")
    return _amounts(invoice)


def _reversed(invoice: Invoice, row: License | None, _keys: KeyMaker) -> Facts:
    if not invoice.reversed:
        raise MailObsolete("the reversal was undone")
    renewal = row is not None and invoice.target_license_id is not None
    about = {"valid_until": row.expires_at, "license_status": row.status} if row else {"license_status": None}
    return {**about, "renewal": renewal, "invoice_id": str(invoice.id)}


def _suspended(invoice: Invoice, row: License | None, _keys: KeyMaker) -> Facts:
    if row is None or row.status != LicenseStatus.SUSPENDED:
        raise MailObsolete("the license isn't suspended any more")
    return {"invoice_id": str(invoice.id)}


def _revoked(invoice: Invoice, row: License | None, _keys: KeyMaker) -> Facts:
    if row is None or row.status != LicenseStatus.REVOKED:
        raise MailObsolete("the license isn't revoked any more")
    return {"invoice_id": str(invoice.id)}


def _restored(invoice: Invoice, row: License | None, keys: KeyMaker) -> Facts:
    if row is None or row.status != LicenseStatus.ACTIVE:
        raise MailObsolete("the license is withdrawn")
    return {"key": keys.key_for(row), "invoice_id": str(invoice.id)}


def _renewed(invoice: Invoice, row: License | None, keys: KeyMaker) -> Facts:
    if row is None or row.status != LicenseStatus.ACTIVE or invoice.reversed:
        raise MailObsolete("the license is withdrawn, or not renewed any more")
    if not row.belongs_to(invoice.created_at):
        raise MailObsolete("the license was transferred")
    price = Money(invoice.came_in + invoice.rest_paid, invoice.currency)
    return {
        "key": keys.key_for(row),
        "price": price if price.amount else None,
        "valid_until": row.expires_at,
        "invoice_id": str(invoice.id),
    }


def _amounts(invoice: Invoice) -> Facts:
    price = Money(invoice.amount, invoice.currency)
    paid = Money((invoice.paid_amount or 0) + invoice.rest_paid, invoice.currency)
    missing = Money(max(0, price.amount - paid.amount), price.currency)
    return {"price": price, "paid": paid if paid.amount else None, "missing": missing, "invoice_id": str(invoice.id)}


_ABOUT: dict[MailKind, Callable[[Invoice, License | None, KeyMaker], Facts]] = {
    MailKind.RECEIPT: _receipt,
    MailKind.SEEN: _seen,
    MailKind.SHORT: _short,
    MailKind.REVERSED: _reversed,
    MailKind.SUSPENDED: _suspended,
    MailKind.REVOKED: _revoked,
    MailKind.RESTORED: _restored,
    MailKind.RENEWED: _renewed,
}
# Also to holders who aren't the buyer. The other kinds are about the payment, or have a link to the buyer's page.
_TO_HOLDERS = {MailKind.SUSPENDED, MailKind.REVOKED, MailKind.RESTORED}
