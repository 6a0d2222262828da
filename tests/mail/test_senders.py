"""Several senders at once: a mail goes out once, and what a late one records undoes nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE, transaction
from keysat.mail.mail_queue import (
    lease_mail,
    lock_mail,
    record_dropped,
    record_refused,
    record_sent,
    record_trouble,
    renew_mail,
)
from keysat.mail.send import send_mail
from tests.mail.letters import license_sold, load_mail, load_mails, parsed, set_mails
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

ROUNDS, SENDERS = 10, 4


def test_processes_that_race_send_each_mail_once(mailer, signer, mail_server):
    for _ in range(ROUNDS):
        license_sold(signer)
    mails = load_mails()
    _, surprises = race(ROUNDS, lambda number, _: send_mail(DATABASE, mailer, mails[number].id), count=SENDERS)
    assert surprises == []
    assert [(mail.status, mail.attempts) for mail in load_mails()] == [("sent", 1)] * ROUNDS
    assert sorted(parsed(taken)["Message-ID"] for taken in mail_server.taken) == sorted(
        mail.message_id for mail in mails
    )


@pytest.fixture
def two_senders(mail_on, signer):
    """The leases of two senders of one mail. The first one's is over, and the second one's isn't."""
    license_sold(signer)
    with transaction() as session:
        late = lease_mail(session, load_mail().id)
    set_mails(leased_until=func.now() - timedelta(seconds=1), next_attempt_at=func.now())
    with transaction() as session:
        return late, lease_mail(session, load_mail().id)


def test_late_sender_whose_mail_was_taken_ends_it(two_senders):
    """Otherwise a copy would go out. The present sender's failure changes that no more."""
    late, present = two_senders
    with transaction() as session:
        record_sent(session, late, "250 OK")
    with transaction() as session:
        record_refused(session, present, "451 later", permanent=False)
        record_trouble(session, present, "421 closing")
        record_dropped(session, present, "no longer true")
        record_sent(session, present, "250 a copy")
        assert renew_mail(session, present) is None
        assert lock_mail(session, present) is None
    mail = load_mail()
    assert (mail.status, mail.answer, mail.attempts, mail.last_error) == ("sent", "250 OK", 1, None)


def test_late_sender_changes_nothing_of_the_present_one(two_senders):
    late, present = two_senders
    with transaction() as session:
        record_refused(session, late, "550 no", permanent=True)
        record_trouble(session, late, "421 closing")
        record_dropped(session, late, "no longer true")
        assert renew_mail(session, late) is None
    mail = load_mail()
    assert (mail.status, mail.attempts, mail.last_error, mail.leased_until) == (
        "pending", 0, None, present.leased_until,
    )  # fmt: skip


def test_late_sender_makes_no_message(two_senders):
    """Two senders might make different ones with one Message-ID."""
    late, present = two_senders
    with transaction() as session:
        assert lock_mail(session, late) is None
        assert lock_mail(session, present).id == present.mail_id
