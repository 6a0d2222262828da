"""Sales that lead to mail, and what the mail server took."""

import re
from email import message_from_bytes
from email.policy import SMTPUTF8

from sqlalchemy import func, select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.mail.mail_queue import due_mails
from keysat.mail.send import send_mail
from keysat.models import Mail
from tests.builders import issue_now, make_invoice

BUYER = "buyer@example.com"


def load_mails():
    """All mails, oldest first."""
    with reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def load_mail():
    """The only mail."""
    [mail] = load_mails()
    return mail


def set_mails(**facts):
    """Write columns of all mails directly."""
    with transaction() as session:
        session.execute(update(Mail).values(facts))


def make_mails_due():
    """Let each pending mail be due, and no lease be active."""
    with transaction() as session:
        due = {"next_attempt_at": func.now(), "leased_until": None}
        session.execute(update(Mail).where(Mail.next_attempt_at.is_not(None)).values(due))


def license_sold(signer, **facts):
    """A settled invoice of a buyer with an address, and its license. Returns the ids of both."""
    invoice = make_invoice(status="settled", settled_at=func.now(), paid_amount=21_000, **facts)
    return invoice.id, issue_now(invoice.id, signer.key_id)


def send_due(mailer):
    """Attempt what is due, until nothing is."""
    while True:
        with reading() as session:
            due = due_mails(session, 100)
        if not due:
            return
        for mail_id in due:
            send_mail(DATABASE, mailer, mail_id)


def parsed(taken):
    """A message that the server took, its parts decoded."""
    return message_from_bytes(taken.content, policy=SMTPUTF8)


def text_of(taken):
    """The plain text of a message that the server took."""
    return parsed(taken).get_body(("plain",)).get_content()


def html_of(taken):
    """The HTML of a message that the server took."""
    return parsed(taken).get_body(("html",)).get_content()


def key_in(text):
    """The license key in a text."""
    return re.search(r"LIC1-\S+", text)[0]
