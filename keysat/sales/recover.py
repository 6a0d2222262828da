"""Give a buyer a lost license again: for the purchase and a proof, or for a link sent to the e-mail address.

The proof is the e-mail address of the holder, or the preimage of the Lightning payment.

Every failure is the same for the caller, and takes the same statement. So nobody learns what of it was right.
Nothing is sent here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.core.logs import get_logger
from keysat.core.mailbox import in_small_letters
from keysat.invoices.find import by_any_id
from keysat.models import Invoice, License, Mail, RecoveryLink
from keysat.models.audit import audit
from keysat.models.holders import held_by, is_holder
from keysat.models.mail import MailKind

LINK_LIFE = timedelta(minutes=30)
# The max number of links mailed to one address within `LIMIT_TIME`.
MAX_LINKS, LIMIT_TIME = 3, timedelta(hours=1)
# Compared with where no payment hash is known, so that this takes the same time. It has no known preimage.
_NO_HASH = bytes(32)

log = get_logger(__name__)


@dataclass(frozen=True)
class NewLink:
    """A recovery link. Only its hash is stored. `email` is its address in lower case: it may be sent nowhere else."""

    id: UUID
    email: str
    secret: str


def recover(session: Session, invoice_id: str, email: str, actor: str) -> License:
    """Return the license of an invoice whose holder has that e-mail address, in any case.

    `invoice_id` is our id, the provider's, or the token that polls the purchase. A recovery is audited with a hash of
    the address. A refusal is only logged, as strangers can cause any number of them.

    Raises:
        NotFound: no such invoice, it has no license, or its holder has another address or none.
    """
    wanted = by_any_id(invoice_id.strip().partition(".")[0])
    row = session.scalar(
        select(License).join(Invoice, Invoice.id == License.invoice_id).where(wanted, held_by(email)).limit(1)
    )
    if row is None:
        log.info("recovery refused", address=email_hash(email))
        raise NotFound("license", "of that invoice and e-mail address")
    audit(session, actor, "license.recovered", row.id, address=email_hash(email))
    return row


def recover_paid(session: Session, invoice_id: str, preimage: bytes, actor: str) -> License:
    """Return the license of an invoice that was paid over Lightning with that preimage, 32 bytes.

    `invoice_id` is as in `recover`. A license that the buyer transferred isn't returned. A recovery is audited with a
    part of the payment hash. Nothing here stores or logs the preimage.

    Raises:
        NotFound: no such invoice, it has no license, its payment is unknown, or the preimage is another one's.
    """
    wanted = by_any_id(invoice_id.strip().partition(".")[0])
    bought = (
        select(License.id, Invoice.payment_hashes)
        .join(Invoice, Invoice.id == License.invoice_id)
        .where(wanted, License.transferred_at.is_(None))
    )
    given, proven = hashlib.sha256(preimage).digest(), None
    for license_id, hashes in [(None, None), *session.execute(bought).all()]:
        for payment_hash in hashes or [_NO_HASH]:
            if hmac.compare_digest(payment_hash, given):
                proven = license_id
    payment = given.hex()[:16]
    if proven is None:
        log.info("recovery refused", payment=payment)
        raise NotFound("license", "of that invoice and preimage")
    audit(session, actor, "license.recovered", proven, payment=payment)
    return session.get_one(License, proven)


def email_hash(email: str) -> str:
    """Return 16 hex digits of the SHA-256 of an e-mail address in lower case."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()[:16]


def make_link(session: Session, email: str, actor: str) -> NewLink | None:
    """Make a link to the licenses of an e-mail address, for the operator. It works once, within 30 minutes.

    Returns None if the address holds no license. Links for the operator don't count as mailed.
    """
    if not is_holder(session, email):
        return None
    link = _make(session, in_small_letters(email))
    audit(session, actor, "recovery.linked", link.id, address=email_hash(link.email))
    return link


def request_link(session: Session, email: str) -> NewLink | None:
    """Make a link like `make_link`, for anybody who names an address, also one that holds no license.

    That is only logged, as strangers can name any number of addresses. The audit log has each use of a link.

    The caller writes its mail in the same transaction. The same is done for every address, so that the time it takes
    tells nothing. The mail is only sent to a holder. Returns None while a mailed link of the address still works, or if
    three were mailed within the last hour.
    """
    address = in_small_letters(email)
    # Of two concurrent requests for one mailbox, the second waits here and then finds the first one's link.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"recovery:{address}", 0))))
    mailed = exists().where(Mail.kind == MailKind.RECOVERY, Mail.subject_id == RecoveryLink.id)
    works = (RecoveryLink.used_at.is_(None)) & (RecoveryLink.expires_at > func.now())
    recent = select(func.count(), func.count().filter(works)).where(
        RecoveryLink.email == address, RecoveryLink.created_at > func.now() - LIMIT_TIME, mailed
    )
    number, working = session.execute(recent).one()
    log.info("recovery link requested", address=email_hash(address))
    return None if working or number >= MAX_LINKS else _make(session, address)


def _make(session: Session, address: str) -> NewLink:
    secret = secrets.token_urlsafe(32)
    link = RecoveryLink(email=address, secret_hash=_digest(secret), expires_at=func.now() + LINK_LIFE)
    session.add(link)
    session.flush()
    return NewLink(link.id, address, secret)


@dataclass(frozen=True)
class Redeemed:
    """The address of a link, in lower case, and the licenses that it holds, newest first."""

    email: str
    licenses: list[License]


def redeem_link(session: Session, secret: str, actor: str) -> Redeemed:
    """Use up a link. Build the answer in the same transaction, so that a link without an answer isn't used up.

    Raises:
        NotFound: no such link, it was used, or it has expired.
    """
    used = session.execute(
        update(RecoveryLink)
        .where(
            RecoveryLink.secret_hash == _digest(secret),
            RecoveryLink.used_at.is_(None),
            RecoveryLink.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(RecoveryLink.id, RecoveryLink.email)
    ).one_or_none()
    if used is None:
        raise NotFound("link", "that works any more; ask for a new one")
    audit(session, actor, "recovery.redeemed", used.id, address=email_hash(used.email))
    return Redeemed(used.email, licenses_held(session, used.email))


def licenses_held(session: Session, email: str) -> list[License]:
    """Return the licenses of which an e-mail address is the holder's, newest first."""
    return list(session.scalars(select(License).where(held_by(email)).order_by(License.id.desc())))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
