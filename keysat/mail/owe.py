"""Write a mail's row in the transaction of what it reports. Nothing is written while mail is off.

A second row about the same subject is never written, so a repeated call does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.mailbox import parse_sender
from keysat.core.secrets import seal
from keysat.core.settings import Settings, load_settings
from keysat.mail.subject import buyer_address
from keysat.models import Invoice, License, Mail
from keysat.models.holders import holder_email
from keysat.models.license import LicenseStatus
from keysat.models.mail import MailKind, MailStatus

# The key in a session's `info` of the mails that its transaction wrote and that are due, so that they are sent at once.
MAILS = "mails"
# A payment that is confirmed within this time needs no mail that it was seen.
SEEN_AFTER = timedelta(seconds=30)


_STATUS_KINDS = {
    LicenseStatus.SUSPENDED: MailKind.SUSPENDED,
    LicenseStatus.REVOKED: MailKind.REVOKED,
    LicenseStatus.ACTIVE: MailKind.RESTORED,
}


@dataclass(frozen=True)
class MailedLink:
    """A link back to a buyer's purchases. `path` is below the public URL and opens them, so it is stored encrypted.

    `language` is that of the page where it was requested. None is the one of the settings.
    """

    link_id: UUID
    path: str
    valid_for: timedelta
    language: str | None = None


def owe_receipt(session: Session, invoice_id: UUID, license_id: UUID) -> None:
    """Write the receipt of a license that was issued now, with the key, if the buyer gave an address."""
    _owe_buyer(session, MailKind.RECEIPT, license_id, invoice_id)


def owe_renewed(session: Session, invoice_id: UUID) -> None:
    """Write that a license was renewed, with its new key."""
    _owe_buyer(session, MailKind.RENEWED, invoice_id, invoice_id)


def owe_seen(session: Session, invoice_id: UUID) -> None:
    """Write that a payment was seen and isn't confirmed yet."""
    _owe_buyer(session, MailKind.SEEN, invoice_id, invoice_id, SEEN_AFTER)


def owe_short(session: Session, invoice_id: UUID) -> None:
    """Write that less than the price was paid."""
    _owe_buyer(session, MailKind.SHORT, invoice_id, invoice_id)


def owe_reversed(session: Session, invoice_id: UUID) -> None:
    """Write that the payment went back, and what became of the license."""
    _owe_buyer(session, MailKind.REVERSED, invoice_id, invoice_id)


def owe_license_status(session: Session, license_id: UUID, *, only_new_holder: bool = False) -> None:
    """Write to a license's holder that it was suspended or revoked, or that it is valid again, as its status is now.

    Nothing is written to a holder who can't know that it wasn't valid. `only_new_holder`: nor to the buyer.
    """
    row = _read_license(session, license_id)
    if row.status not in _STATUS_KINDS or (only_new_holder and row.transferred_at is None):
        return
    kind = _STATUS_KINDS[row.status]
    if kind != MailKind.RESTORED or _withdrawal_was_told(session, row):
        _owe_holder(session, kind, row)


def owe_new_key(session: Session, license_id: UUID, *, transferred: bool) -> None:
    """Write a license's new key to its holder, who is another one if it was transferred now."""
    _owe_holder(session, MailKind.TRANSFERRED if transferred else MailKind.ROTATED, _read_license(session, license_id))


def owe_expiry(session: Session, license_id: UUID, notice_id: UUID, *, over: bool) -> None:
    """Write to a license's holder that it ends soon, or that it has ended."""
    kind = MailKind.EXPIRED if over else MailKind.EXPIRING
    _owe_holder(session, kind, _read_license(session, license_id), notice_id)


def _read_license(session: Session, license_id: UUID) -> License:
    wanted = select(License).where(License.id == license_id).execution_options(populate_existing=True)
    return session.scalars(wanted).one()


def _owe_holder(session: Session, kind: MailKind, row: License, subject_id: UUID | None = None) -> None:
    settings, email = load_settings(), holder_email(session, row)
    if settings.mail_is_on and email:
        about = {"invoice_id": row.invoice_id, "license_id": row.id, "language": settings.mail_language}
        _write(session, settings, kind, subject_id or uuid7(), email, **about)


def _withdrawal_was_told(session: Session, row: License) -> bool:
    """Whether the holder may have read that the license was withdrawn, or has no receipt because it was.

    The rows are locked, so that a sender has either made a message by now or will find that it isn't true any more.
    """
    told = {MailKind.SUSPENDED, MailKind.REVOKED} | ({MailKind.REVERSED} if row.transferred_at is None else set())
    about = or_(Mail.license_id == row.id, Mail.invoice_id == row.invoice_id)
    mails = session.execute(select(Mail.kind, Mail.status, Mail.facts_hash).where(about).with_for_update()).all()
    lost = row.transferred_at is None and any(
        mail.kind == MailKind.RECEIPT and mail.status == MailStatus.DROPPED for mail in mails
    )
    return lost or any(mail.kind in told and mail.facts_hash is not None for mail in mails)


def owe_recovery_link(session: Session, box: MultiFernet, email: str, link: MailedLink) -> None:
    """Write the mail with a recovery link. It is dropped once the link is no longer valid.

    It is dropped, too, if the address holds no license when it is sent. Until then nobody asks, so that strangers can't
    learn it from the time that a request takes.
    """
    settings = load_settings()
    if settings.mail_is_on:
        values = {
            "sealed_link": seal(box, {"path": link.path}),
            "useful_until": func.now() + link.valid_for,
            "language": link.language or settings.mail_language,
        }
        _write(session, settings, MailKind.RECOVERY, link.link_id, email, **values)


def new_message_id(settings: Settings) -> str:
    """Return a Message-ID in the sender's domain."""
    return f"<{uuid7()}@{parse_sender(settings.mail_from).domain}>"


def _owe_buyer(
    session: Session, kind: MailKind, subject_id: UUID, invoice_id: UUID, after: timedelta = timedelta(0)
) -> None:
    settings = load_settings()
    if not settings.mail_is_on:
        return
    bought = select(Invoice.buyer_email, License).outerjoin(License, License.invoice_id == Invoice.id)
    buyer_email, row = session.execute(bought.where(Invoice.id == invoice_id)).one()
    email = buyer_address(buyer_email, row)
    if email:
        due = func.now() + after
        values = {"invoice_id": invoice_id, "next_attempt_at": due, "language": settings.mail_language}
        _write(session, settings, kind, subject_id, email, **values)


def _write(
    session: Session, settings: Settings, kind: MailKind, subject_id: UUID, recipient: str, **values: object
) -> None:
    facts = {"id": uuid7(), "kind": kind, "subject_id": subject_id, "recipient": recipient}
    facts |= {"message_id": new_message_id(settings), "next_attempt_at": func.now(), **values}
    once = insert(Mail).values(facts).on_conflict_do_nothing(index_elements=[Mail.kind, Mail.subject_id])
    written = session.execute(once.returning(Mail.id, (Mail.next_attempt_at <= func.now()).label("due"))).one_or_none()
    if written is not None and written.due:
        session.info.setdefault(MAILS, []).append(written.id)
