"""`keysat mail`: mail to buyers, sent and pending."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.hints import explained
from keysat.cli.output import AsJson, Note, Row, say, show_record, show_rows
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import InvalidInput, KeysatError
from keysat.core.settings import load_settings
from keysat.licenses.signer import installed_signer
from keysat.mail.manage import drop_mail, list_mails, require_mail, retry_failed_mails, retry_mail
from keysat.mail.send import Mailer, preview_text, send_test_mail
from keysat.models import Mail
from keysat.models.mail import MailKind, MailStatus
from keysat.operations.search import require_invoice

app = typer.Typer(help="Mail to buyers.", no_args_is_help=True)

WhichMail = Annotated[UUID, typer.Argument(metavar="MAIL", help="Its id.")]


@app.command("list")
def list_(
    status: Annotated[MailStatus | None, typer.Option(help="Only those that stand so.")] = None,
    kind: Annotated[MailKind | None, typer.Option(help="Only of this kind.")] = None,
    email: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    invoice: Annotated[str | None, typer.Option(help="Only of this invoice.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List mails, newest first. `failed` ones are dead letters."""
    with reading() as session:
        invoice_id = None if invoice is None else require_invoice(session, invoice).id
        rows = list_mails(session, limit, status, kind, email, invoice_id)
    show_rows([_summary(row) for row in rows], as_json)


@app.command()
def show(mail: WhichMail, as_json: AsJson = False) -> None:
    """Show a mail and its text. The text of one that was sent is made again, from what holds now."""
    with reading() as session:
        row = require_mail(session, mail)
        text = None
        try:
            text = preview_text(session, Mailer.of(load_settings(), installed_signer(DATABASE)), row)
        except KeysatError as error:
            say(f"its text can't be shown: {explained(error)}")
    record = {
        **_summary(row),
        "invoice": None if row.invoice_id is None else str(row.invoice_id),
        "language": row.language,
        "message_id": row.message_id,
        "created": row.created_at,
        "useful_until": row.useful_until,
        "answer": row.answer,
    }
    if as_json:
        show_record({**record, "text": text}, as_json)
        return
    show_record(record, as_json)
    if text is not None:
        print()
        print(text, end="")


@app.command()
def retry(
    mail: Annotated[UUID | None, typer.Argument(metavar="MAIL", help="Its id.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All dead letters, as after a server refused all.")] = False,
) -> None:
    """Send a mail again at once, with new attempts, to its recipient's present address.

    Of a sent one, a second copy goes out. A recovery link that was sent or dropped can't be sent again. What is no
    longer true is dropped instead.
    """
    if (mail is None) != failed:
        raise InvalidInput("name either a mail or --failed.")
    with transaction() as session:
        if mail is not None:
            retry_mail(session, mail, actor="cli")
        count = 1 if mail is not None else retry_failed_mails(session, actor="cli")
    say(f"{count} mails are due; the worker sends them within seconds")


@app.command()
def drop(mail: WhichMail, note: Note) -> None:
    """Let a pending mail or a dead letter be, as when the buyer has the key already. It ends the alarm."""
    with transaction() as session:
        drop_mail(session, mail, note, actor="cli")
    say(f"mail {mail} is dropped")


@app.command()
def test(address: Annotated[str, typer.Argument(help="Where to.")]) -> None:
    """Send a test mail to an address now, and print the mail server's answer."""
    answer = send_test_mail(Mailer.of(load_settings(), installed_signer(DATABASE)), address)
    say(f"the mail server took it: {answer}")


def _summary(row: Mail) -> Row:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "status": row.status,
        "recipient": row.recipient,
        "attempts": row.attempts,
        "next_attempt": row.next_attempt_at,
        "ended": row.ended_at,
        "last_error": row.last_error,
    }
