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
from sqlalchemy.orm import Session

from keysat.core.errors import SettingsError
from keysat.core.money import Money
from keysat.core.secrets import unseal
from keysat.core.settings import Settings
from keysat.mail.subject import MailObsolete, Subject, read_subject
from keysat.models import License, Mail
from keysat.models.holders import is_holder
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
    subject = read_subject(session, mail)
    about = _ABOUT[mail.kind](subject, keys)
    recipient = subject.buyer_address if mail.kind not in _TO_HOLDERS else subject.holder_address
    if recipient is None:
        raise MailObsolete("its recipient has no address any more")
    purchase = subject.purchase if subject.has_page else None
    page = f"{settings.url}/me" if purchase is None else f"{settings.url}/p/{keys.purchase_token(purchase.id)}"
    shown = {**facts, "product": subject.product.name, "policy": subject.policy.name, "page": page, **about}
    return MailFacts(recipient, shown, _digest(recipient, about))


def _digest(recipient: str, about: Facts) -> bytes:
    """Return a SHA-256. What must stay secret of the facts has more than 128 random bits."""
    return hashlib.sha256(json.dumps([recipient, about], default=str, sort_keys=True).encode()).digest()


def _receipt(subject: Subject, keys: KeyMaker) -> Facts:
    row, invoice = subject.active(), subject.sold
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
        "invoice_id": subject.reference,
    }


def _seen(subject: Subject, _keys: KeyMaker) -> Facts:
    invoice = subject.sold
    if invoice.status == InvoiceStatus.SETTLED:
        raise MailObsolete("the payment is confirmed")
    if invoice.status != InvoiceStatus.PENDING or invoice.review_reason is not None:
        raise MailObsolete("the payment no longer waits for its confirmation")
    return _amounts(subject)


def _short(subject: Subject, _keys: KeyMaker) -> Facts:
    invoice = subject.sold
    if not invoice.in_review or not (subject.purchase or invoice).in_review:
        raise MailObsolete("the review is over")
    paid = None if invoice.paid_amount is None else invoice.paid_amount + invoice.rest_paid
    if not money_is_missing(invoice.review_reason, paid, invoice.amount):
        raise MailObsolete("no money is missing")
    return _amounts(subject)


def _reversed(subject: Subject, _keys: KeyMaker) -> Facts:
    invoice, row = subject.sold, subject.license
    if not invoice.reversed:
        raise MailObsolete("the reversal was undone")
    renewal = row is not None and invoice.target_license_id is not None
    about = {"valid_until": row.expires_at, "license_status": row.status} if row else {"license_status": None}
    return {**about, "renewal": renewal, "invoice_id": subject.reference}


def _suspended(subject: Subject, _keys: KeyMaker) -> Facts:
    if subject.license is None or subject.license.status != LicenseStatus.SUSPENDED:
        raise MailObsolete("the license isn't suspended any more")
    return {"invoice_id": subject.reference}


def _revoked(subject: Subject, _keys: KeyMaker) -> Facts:
    if subject.license is None or subject.license.status != LicenseStatus.REVOKED:
        raise MailObsolete("the license isn't revoked any more")
    return {"invoice_id": subject.reference}


def _restored(subject: Subject, keys: KeyMaker) -> Facts:
    return {"key": keys.key_for(subject.active()), "invoice_id": subject.reference}


def _renewed(subject: Subject, keys: KeyMaker) -> Facts:
    row, invoice = subject.active(), subject.sold
    if invoice.reversed:
        raise MailObsolete("the license isn't renewed any more")
    if not row.belongs_to(invoice.created_at):
        raise MailObsolete("the license was transferred")
    price = Money(invoice.came_in + invoice.rest_paid, invoice.currency)
    return {
        "key": keys.key_for(row),
        "price": price if price.amount else None,
        "valid_until": row.expires_at,
        "invoice_id": subject.reference,
    }


def _new_key(subject: Subject, keys: KeyMaker) -> Facts:
    row = subject.active()
    if row.transferred_at is not None and row.transferred_at > subject.mail.created_at:
        raise MailObsolete("the license was transferred since")
    return {"key": keys.key_for(row), "invoice_id": subject.reference}


def _expiring(subject: Subject, _keys: KeyMaker) -> Facts:
    row = subject.active()
    notice = subject.notice
    if notice is None or row.expires_at != notice.ends_at:
        raise MailObsolete("the license has another end by now")
    return {
        "ends_at": row.expires_at,
        "valid_until": row.valid_until,
        "renewable": row.is_recurring,
        "invoice_id": subject.reference,
    }


def _amounts(subject: Subject) -> Facts:
    """Return what was paid for the purchase, and what is missing. A rest charges what was missing when it began."""
    invoice = subject.sold
    whole = subject.purchase or invoice
    missing = max(0, invoice.amount - (invoice.paid_amount or 0) - invoice.rest_paid)
    paid = whole.amount - invoice.amount + (invoice.paid_amount or 0) + invoice.rest_paid
    price, arrived = Money(whole.amount, whole.currency), Money(paid, whole.currency)
    return {
        "price": price,
        "paid": arrived if arrived.amount else None,
        "missing": Money(missing, whole.currency),
        "invoice_id": subject.reference,
    }


_ABOUT: dict[MailKind, Callable[[Subject, KeyMaker], Facts]] = {
    MailKind.RECEIPT: _receipt,
    MailKind.SEEN: _seen,
    MailKind.SHORT: _short,
    MailKind.REVERSED: _reversed,
    MailKind.SUSPENDED: _suspended,
    MailKind.REVOKED: _revoked,
    MailKind.RESTORED: _restored,
    MailKind.RENEWED: _renewed,
    MailKind.ROTATED: _new_key,
    MailKind.TRANSFERRED: _new_key,
    MailKind.EXPIRING: _expiring,
    MailKind.EXPIRED: _expiring,
}
# Also to holders who aren't the buyer. The other kinds are about the payment, or have a link to the buyer's page.
_TO_HOLDERS = {
    *(MailKind.SUSPENDED, MailKind.REVOKED, MailKind.RESTORED),
    *(MailKind.ROTATED, MailKind.TRANSFERRED, MailKind.EXPIRING, MailKind.EXPIRED),
}
