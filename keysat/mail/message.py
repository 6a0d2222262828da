"""The bytes of a mail: its headers, the plain text and the HTML. The same input makes the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from keysat.core.mailbox import Mailbox
from keysat.mail.render import Rendered


@dataclass(frozen=True)
class Envelope:
    """Who writes to whom, and by which id and date. `reply_to` is None if answers go to the sender."""

    sender: Mailbox
    recipient: Mailbox
    reply_to: Mailbox | None
    message_id: str
    date: datetime
    language: str


def build_message(envelope: Envelope, rendered: Rendered) -> bytes:
    """Return a message with lines that end in CRLF. Its headers can't be split by any value."""
    needs_utf8 = any(box.needs_utf8 for box in (envelope.sender, envelope.recipient, envelope.reply_to) if box)
    message = EmailMessage(policy=SMTPUTF8 if needs_utf8 else SMTP)
    message["From"] = envelope.sender.header
    message["To"] = envelope.recipient.header
    if envelope.reply_to is not None:
        message["Reply-To"] = envelope.reply_to.header
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(envelope.date)
    message["Message-ID"] = envelope.message_id
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's absence replies
    message.set_content(rendered.text, cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = envelope.language  # of all parts; set before, it would be that of the first
    message.set_boundary(f"=_{envelope.message_id.strip('<>').partition('@')[0]}")
    return message.as_bytes()
