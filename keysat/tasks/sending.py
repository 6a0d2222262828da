"""The tasks of the queue `deliver`: what Keysat reports to the operator's programs and to buyers."""

from __future__ import annotations

from keysat.core.db import DATABASE, transaction
from keysat.core.errors import KeysatError
from keysat.core.settings import load_settings
from keysat.mail.mail_queue import due_mails, pull_back_mails
from keysat.mail.send import send_mail
from keysat.net.smtp import CONFIRM_SECONDS
from keysat.queue.send import as_id, queued
from keysat.tasks.app import app
from keysat.tasks.support import mailer, sender
from keysat.tasks.wake import send_deliveries, send_mail_messages
from keysat.webhooks.deliver import deliver
from keysat.webhooks.delivery_queue import due_deliveries, pull_back_deliveries


@app.task(name="keysat.scan_deliveries", throws=(KeysatError,))
def scan_deliveries() -> str:
    """Send `deliver_webhook` for pending outbound webhooks, limited by each endpoint's concurrency."""
    settings = load_settings()
    room = settings.scan_queue_limit - queued(app, "deliver")
    with transaction() as session:
        pull_back_deliveries(session)
        deliveries = due_deliveries(session, settings.webhook_concurrency, max(0, room))
    send_deliveries(deliveries)
    return f"sent: {len(deliveries)} deliveries"


@app.task(name="keysat.deliver_webhook", throws=(KeysatError,))
def deliver_webhook(delivery_id: str) -> str:
    """Attempt an outbound webhook, then send the endpoint's next one."""
    result = deliver(DATABASE, sender(), as_id(delivery_id))
    if result.next_id is not None:
        send_deliveries([result.next_id])
    return result.sentence


@app.task(name="keysat.scan_mails", throws=(KeysatError,))
def scan_mails() -> str:
    """Send `deliver_mail` for due mails, limited by how many may be sent at once."""
    settings = load_settings()
    if not settings.mail_is_on:
        return "mail is off"
    room = settings.scan_queue_limit - queued(app, "deliver")
    with transaction() as session:
        pull_back_mails(session)
        mails = due_mails(session, max(0, room))
    send_mail_messages(mails)
    return f"sent: {len(mails)} mails"


# The mail server may take its time to reply to a message.
@app.task(
    name="keysat.deliver_mail",
    throws=(KeysatError,),
    soft_time_limit=CONFIRM_SECONDS + 60,
    time_limit=CONFIRM_SECONDS + 90,
)
def deliver_mail(mail_id: str) -> str:
    """Attempt a mail, then send the next one."""
    next_mail = send_mail(DATABASE, mailer(), as_id(mail_id))
    if next_mail is None:
        return "done"
    send_mail_messages([next_mail])
    return f"done; sent: {next_mail}"
