"""A mail that this version can't make stops no other one, and waits with the reason for a person."""

from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import update

from keysat.core.db import DATABASE, transaction
from keysat.core.money import MAX_AMOUNT
from keysat.mail.mail_queue import AT_ONCE
from keysat.mail.send import freeze_message, send_mail
from keysat.models import Mail
from tests.builders import set_columns
from tests.mail.letters import BUYER, license_sold, load_mails
from tests.versions import written_by_another_version

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def set_mail(mail, **facts):
    with transaction() as session:
        session.execute(update(Mail).where(Mail.id == mail.id).values(facts))


def unknown_currency(mail):
    set_columns(mail.invoice_id, currency="XAU")


def impossible_amount(mail):
    set_columns(mail.invoice_id, paid_amount=MAX_AMOUNT + 1)


def no_invoice(mail):
    set_mail(mail, invoice_id=None)


def unknown_language(mail):
    set_mail(mail, language="xx")


def unreadable_message(mail):
    set_mail(mail, sealed_message=b"of another key")


SPOILS = [unknown_currency, impossible_amount, no_invoice, unknown_language, unreadable_message]


def send_all(mailer):
    """Attempt each mail, oldest first, as a worker does, which goes on after a task that fails."""
    for mail in load_mails():
        with suppress(Exception):
            send_mail(DATABASE, mailer, mail.id)


@pytest.fixture
def mails(signer, mail_on):
    """As many receipts as may be sent at once, and one more."""
    for _ in range(AT_ONCE + 1):
        license_sold(signer)
    return load_mails()


def check_waits(mail):
    assert (mail.status, mail.attempts, mail.leased_until) == ("pending", 0, None)
    assert mail.last_error
    assert mail.next_attempt_at is not None


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_bad_mails_stop_no_other(mails, mailer, mail_server, spoil, log_of):
    """They keep none of the few leases, and count as no refusal by the buyer's server."""
    lines = log_of("keysat.mail.send")
    for mail in mails[:AT_ONCE]:
        if spoil is unreadable_message:  # one that was made is used again
            with transaction() as session:
                freeze_message(session, mailer, session.get_one(Mail, mail.id))
        spoil(mail)
    send_all(mailer)
    assert [taken.recipients for taken in mail_server.taken] == [[BUYER]]
    *bad, good = load_mails()
    assert good.status == "sent"
    for mail in bad:
        check_waits(mail)
    logged = {line["mail_id"] for line in lines if str(line.get("result", "")).startswith("failed")}
    assert logged == {str(mail.id) for mail in bad}


def test_mail_of_unknown_kind_stops_no_other(mails, mailer, mail_server):
    with written_by_another_version("mails", mails[0].id, "gift", "kind"):
        send_all(mailer)
        first, *others = load_mails()
        check_waits(first)
        assert {mail.status for mail in others} == {"sent"}
        assert len(mail_server.taken) == AT_ONCE


class Crashing:
    """A server's client that fails as nobody expects."""

    def send(self, *_):
        raise UnicodeEncodeError("ascii", "x", 0, 1, "of a kind that nobody expects")


def test_mail_whose_sending_fails_unexpectedly_is_an_attempt_and_keeps_no_lease(mails, mailer, mail_server):
    """The server may have taken it, so it isn't sent for ever."""
    first, *others = mails
    send_mail(DATABASE, replace(mailer, server=Crashing()), first.id)
    crashed = load_mails()[0]
    assert (crashed.status, crashed.attempts, crashed.leased_until) == ("pending", 1, None)
    assert crashed.last_error == "sending it failed (UnicodeEncodeError)."
    for mail in others:
        send_mail(DATABASE, mailer, mail.id)
    assert [mail.status for mail in load_mails()] == ["pending", *["sent"] * len(others)]
