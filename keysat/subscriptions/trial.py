"""Give a trial of a product once to each mailbox, and once to each machine that a program names."""

from __future__ import annotations

import hashlib
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.errors import Conflict, InvalidInput
from keysat.core.mailbox import parse_mailbox
from keysat.models import Trial

# Mailboxes whose names have no dots that count.
_DOTLESS = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}


class TrialNeedsBuyer(InvalidInput):
    """A trial was wanted by nobody in particular."""

    def __init__(self) -> None:
        super().__init__("a trial needs the buyer's e-mail address, or the fingerprint of the machine.")


class TrialUsed(Conflict):
    """This buyer or this machine had a trial of the product."""

    def __init__(self) -> None:
        super().__init__("there was a trial of this product for this address or machine; buy it without a trial.")


def take_trial(
    session: Session, product_id: UUID, invoice_id: UUID, email: str | None, fingerprint_hash: bytes | None
) -> None:
    """Write down that a buyer has a trial now. Of two concurrent requests, the second waits and is refused.

    Raises:
        TrialNeedsBuyer: neither an address nor a machine is known.
        TrialUsed: one of them had a trial of the product.
    """
    buyers = [] if email is None else [f"mailbox {one_mailbox(email)}".encode()]
    if fingerprint_hash is not None:
        buyers.append(b"machine " + fingerprint_hash)
    if not buyers:
        raise TrialNeedsBuyer
    hashes = sorted(hashlib.sha256(product_id.bytes + buyer).digest() for buyer in buyers)
    rows = [
        {"id": uuid7(), "product_id": product_id, "buyer_hash": digest, "invoice_id": invoice_id} for digest in hashes
    ]
    written = session.scalars(insert(Trial).values(rows).on_conflict_do_nothing().returning(Trial.id)).all()
    if len(written) < len(rows):
        raise TrialUsed


def one_mailbox(email: str) -> str:
    """Return the same text for all spellings of a mailbox: in small letters, without a tag or dots that don't count."""
    mailbox = parse_mailbox(email.strip())
    domain = mailbox.domain.lower()
    local = mailbox.local.casefold().partition("+")[0] or mailbox.local.casefold()
    if domain in _DOTLESS:
        return f"{local.replace('.', '')}@{_DOTLESS[domain]}"
    return f"{local}@{domain}"
