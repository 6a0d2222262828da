"""A new mail wakes a sender at once, a scan finds what is due, and each sender goes on with the next one."""

import pytest

from keysat.core.db import transaction
from keysat.mail.owe import owe_seen, owe_short
from keysat.queue.send import queued
from keysat.tasks import sending, support
from keysat.tasks.app import app
from tests.builders import make_invoice
from tests.mail.letters import license_sold, load_mails, make_mails_due

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake", "mail_on")


@pytest.fixture(autouse=True)
def _new_mailer():
    support.mailer.cache_clear()
    yield
    support.mailer.cache_clear()


def test_new_mail_wakes_a_sender(signer):
    license_sold(signer)
    assert queued(app, "deliver") == 1


def test_mail_that_waits_wakes_nobody():
    """A sender would find nothing to do. The scan sends it when it is due."""
    invoice = make_invoice()
    with transaction() as session:
        owe_seen(session, invoice.id)
    assert queued(app, "deliver") == 0
    assert sending.scan_mails() == "sent: 0 mails"
    make_mails_due()
    assert sending.scan_mails() == "sent: 1 mails"


def write_and_fail(invoice_id):
    with transaction() as session:
        owe_short(session, invoice_id)
        raise ZeroDivisionError


def test_undone_mail_wakes_nobody():
    invoice = make_invoice()
    with pytest.raises(ZeroDivisionError):
        write_and_fail(invoice.id)
    assert load_mails() == []
    assert queued(app, "deliver") == 0


def test_scan_finds_what_is_due(signer, empty_broker):
    license_sold(signer)
    empty_broker.flushall()
    assert sending.scan_mails() == "sent: 1 mails"
    assert queued(app, "deliver") == 1


def test_sender_goes_on_with_the_next_mail(signer, mail_server, empty_broker):
    for _ in range(2):
        license_sold(signer)
    first, second = load_mails()
    empty_broker.flushall()
    assert sending.deliver_mail(str(first.id)) == f"done; sent: {second.id}"
    assert sending.deliver_mail(str(second.id)) == sending.deliver_mail(str(second.id)) == "done"
    assert [mail.status for mail in load_mails()] == ["sent", "sent"]
    assert len(mail_server.taken) == 2


def test_server_in_trouble_is_left_to_the_scan(signer, mail_server):
    for _ in range(2):
        license_sold(signer)
    mail_server.answer = lambda at, _: "421 busy" if at == "mail" else None
    assert sending.deliver_mail(str(load_mails()[0].id)) == "done"
    make_mails_due()
    assert sending.scan_mails() == "sent: 2 mails"
