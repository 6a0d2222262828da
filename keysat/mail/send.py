"""Send a mail: lease it, check its facts, hand over its bytes, record the reply. No transaction is open meanwhile.

Its bytes are made at the first attempt, and anew under another Message-ID if its facts changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from uuid import UUID

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core import metrics
from keysat.core.db import Database
from keysat.core.errors import InvalidInput, KeysatError, SettingsError
from keysat.core.hints import Hint
from keysat.core.logs import get_logger
from keysat.core.mailbox import Mailbox, parse_mailbox, parse_sender
from keysat.core.secrets import secret_box
from keysat.core.settings import Settings
from keysat.mail.facts import KeyMaker, MailFacts, read_facts, seller_facts
from keysat.mail.lease import HeldLease
from keysat.mail.mail_queue import (
    LeasedMail,
    lease_mail,
    lock_mail,
    record_dropped,
    record_refused,
    record_sent,
    record_trouble,
)
from keysat.mail.message import Envelope, build_message
from keysat.mail.owe import new_message_id
from keysat.mail.render import Templates
from keysat.mail.subject import MailObsolete
from keysat.models import Mail
from keysat.net.smtp import SmtpServer
from keysat.net.smtp_failed import SmtpFailed

DEADLINE_SECONDS = 20.0  # up to the end of the message
TEST_TEMPLATE = "test"

_Ending = tuple[str, UUID | None]  # the result for the log, and the next mail to send at once, if any

log = get_logger(__name__)


class RecipientUnusable(InvalidInput):
    """The address is one that no server takes."""


class MailIsOff(SettingsError):
    """No mail server is configured."""

    def __init__(self) -> None:
        super().__init__("no mail is sent, because no mail server is configured.", Hint.CONFIGURE_MAIL)


def mail_server(settings: Settings) -> SmtpServer:
    """Return the configured mail server. Raises MailIsOff."""
    if not settings.mail_is_on:
        raise MailIsOff
    helo = parse_sender(settings.mail_from).domain
    return SmtpServer.of_url(settings.smtp_url, helo, DEADLINE_SECONDS, settings.ca_file)


@dataclass(frozen=True)
class Mailer:
    """What a process needs to send mail. Created once, shared by all its threads."""

    settings: Settings
    server: SmtpServer
    box: MultiFernet
    templates: Templates
    keys: KeyMaker

    @classmethod
    def of(cls, settings: Settings, keys: KeyMaker) -> Mailer:
        """Build the mailer from the settings.

        Raises:
            MailIsOff: no mail server is configured.
            SettingsError: a key is missing, or the folder of templates.
        """
        server = mail_server(settings)
        return cls(settings, server, secret_box(settings), Templates(settings.mail_templates), keys)

    @property
    def sender(self) -> Mailbox:
        """The sender that buyers see."""
        return parse_sender(self.settings.mail_from)


def send_mail(database: Database, mailer: Mailer, mail_id: UUID) -> UUID | None:
    """Attempt a due mail, unless it is leased. Return the next one to send now, if any."""
    with database.transaction() as session:
        leased = lease_mail(session, mail_id)
    if leased is None:
        return None
    result, next_mail = _attempt(database, mailer, leased)
    metrics.mails.labels(leased.kind, result.partition(":")[0]).inc()
    log.info("mail", mail_id=str(mail_id), kind=leased.kind, result=result)  # a reply may contain the address
    return next_mail


@dataclass(frozen=True)
class _Letter:
    """What is handed to the mail server."""

    recipient: Mailbox
    message: bytes


def _attempt(database: Database, mailer: Mailer, leased: LeasedMail) -> _Ending:
    letter = _make_letter(database, mailer, leased)
    return _hand_over(database, mailer, leased, letter) if isinstance(letter, _Letter) else letter


def _make_letter(database: Database, mailer: Mailer, leased: LeasedMail) -> _Letter | _Ending:
    """Make a leased mail, unless another sender has it. What can't be made counts as no attempt."""
    try:
        with database.transaction() as session:
            mail = lock_mail(session, leased)
            return ("superseded", None) if mail is None else _Letter(*freeze_message(session, mailer, mail))
    except MailObsolete as error:
        with database.transaction() as session:
            return "dropped", record_dropped(session, leased, str(error))
    except RecipientUnusable as error:
        with database.transaction() as session:
            return "refused: address", record_refused(session, leased, str(error), permanent=True)
    except (SettingsError, InvalidInput) as error:  # a template, a key or a row, which a person must correct
        reason, kind = str(error), type(error).__name__
    except KeysatError:  # the database is in trouble, and the lease ends by itself
        raise
    except Exception as error:  # a row that this version can't read must not keep one of the few leases
        log.exception("mail can't be made", mail_id=str(leased.mail_id), kind=leased.kind)
        kind = type(error).__name__
        reason = f"it can't be made from what is stored ({kind})."
    with database.transaction() as session:
        record_trouble(session, leased, reason)
    return f"failed: {kind}", None


def _hand_over(database: Database, mailer: Mailer, leased: LeasedMail, letter: _Letter) -> _Ending:
    """Send a mail that was made. After trouble, no further one is sent at once."""
    lease = HeldLease(database, leased)
    try:
        with lease:
            answer = mailer.server.send(mailer.sender, letter.recipient, letter.message)
    except SmtpFailed as error:
        where = f"{error.stage} {error.code or 'without a reply'}"
        with database.transaction() as session:
            if error.of_this_message:
                next_mail = record_refused(session, lease.current, str(error), permanent=error.permanent)
                return f"refused: {where}", None if error.code is None else next_mail
            record_trouble(session, lease.current, str(error))
            return f"failed: {where}", None
    except Exception as error:  # the server may have the mail, so this counts, and an end comes to such attempts
        log.exception("mail can't be sent", mail_id=str(leased.mail_id), kind=leased.kind)
        with database.transaction() as session:
            reason = f"sending it failed ({type(error).__name__})."
            record_refused(session, lease.current, reason, permanent=False)
        return f"refused: {type(error).__name__}", None
    with database.transaction() as session:
        return "sent", record_sent(session, lease.current, answer)


def freeze_message(session: Session, mailer: Mailer, mail: Mail) -> tuple[Mailbox, bytes]:
    """Return the recipient and the bytes of a mail. They are stored encrypted, for further attempts.

    The row must be locked, so that two senders never make different bytes with one Message-ID.

    Raises:
        MailObsolete: what it reports is no longer so, or its link is over.
        RecipientUnusable: no mail can be sent to the address.
        SettingsError: a template or a key is wrong.
        InvalidInput: what it reports can't be read by this version.
    """
    if mail.useful_until is not None and mail.useful_until <= session.scalars(select(func.now())).one():
        raise MailObsolete("the link was no longer valid")
    facts = read_facts(session, mail, mailer.keys, mailer.settings, mailer.box)
    mail.recipient = facts.recipient
    try:
        recipient = parse_mailbox(mail.recipient)
    except InvalidInput as error:
        raise RecipientUnusable(str(error)) from None
    frozen = _frozen(mailer, mail, facts)
    if frozen is not None:
        return recipient, frozen
    if mail.facts_hash is not None:  # the server may have taken a message with the Message-ID so far
        mail.message_id = new_message_id(mailer.settings)
    message = _make_message(mailer, mail, facts)
    mail.sealed_message, mail.facts_hash = mailer.box.encrypt(message), facts.digest
    return recipient, message


def preview_text(session: Session, mailer: Mailer, mail: Mail) -> str:
    """Return the plain text of a mail as it is sent, or would be sent now. Raises as `freeze_message`."""
    facts = read_facts(session, mail, mailer.keys, mailer.settings, mailer.box)
    message = _frozen(mailer, mail, facts) or _make_message(mailer, mail, facts)
    body = message_from_bytes(message, policy=SMTP).get_body(("plain",))
    return "" if body is None else str(body.get_content())


def send_test_mail(mailer: Mailer, address: str) -> str:
    """Send a mail to an address now. It isn't stored. Returns the server's reply.

    Raises:
        InvalidInput: no mail can be sent to the address.
        SmtpFailed: it was not taken.
        SettingsError: a template is wrong.
    """
    settings, recipient = mailer.settings, parse_mailbox(address)
    rendered = mailer.templates.render(TEST_TEMPLATE, settings.mail_language, seller_facts(settings))
    message_id, now = new_message_id(settings), datetime.now(UTC)
    envelope = Envelope(mailer.sender, recipient, None, message_id, now, settings.mail_language)
    return mailer.server.send(mailer.sender, recipient, build_message(envelope, rendered))


def _make_message(mailer: Mailer, mail: Mail, facts: MailFacts) -> bytes:
    rendered = mailer.templates.render(mail.kind, mail.language, facts.shown)
    recipient = parse_mailbox(facts.recipient)
    reply_to = parse_sender(mailer.settings.mail_reply_to) if mailer.settings.mail_reply_to else None
    envelope = Envelope(mailer.sender, recipient, reply_to, mail.message_id, mail.created_at, mail.language)
    return build_message(envelope, rendered)


def _frozen(mailer: Mailer, mail: Mail, facts: MailFacts) -> bytes | None:
    """Return the bytes that were made before, or None if there are none, or if they were made from other facts."""
    if mail.sealed_message is None or mail.facts_hash != facts.digest:
        return None
    try:
        return mailer.box.decrypt(mail.sealed_message)
    except InvalidToken:
        raise SettingsError(
            f"mail {mail.id} can't be decrypted with the configured keys.", Hint.RESTORE_SECRETS_KEY
        ) from None
