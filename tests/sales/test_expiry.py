"""The holder of a license and the operator's programs get notice of its end, each notice once."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.changes import change_policy
from keysat.catalog.terms import Terms
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.licenses.withdraw import change_status
from keysat.models import ExpiryNotice, License, OutboundEvent
from keysat.models.license import LicenseStatus
from keysat.sales.expiry import due_notice, give_notices
from keysat.sales.license_changes import change_holder
from keysat.subscriptions.terms import cancel_subscription
from keysat.webhooks.endpoints import add_endpoint
from tests.builders import load_licenses, make_license, set_license
from tests.mail.letters import BUYER, load_mails, parsed, send_due, text_of
from tests.races import race
from tests.renewals import DAY, load_license, open_renewal, pay, sell_recurring

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
END = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAYS = [14, 7, 1]


def give():
    with transaction() as session:
        return give_notices(session, 100)


def set_due(license_id, at):
    """Set when the end is looked at, after the trigger set it."""
    with transaction() as session:
        session.execute(update(License).where(License.id == license_id).values(next_notice_at=at))


def notices():
    with reading() as session:
        return list(session.scalars(select(ExpiryNotice.days_before).order_by(ExpiryNotice.id)))


def events():
    with reading() as session:
        wanted = select(OutboundEvent.event_type).where(OutboundEvent.event_type.like("license.exp%"))
        return list(session.scalars(wanted.order_by(OutboundEvent.id)))


def pass_days(*each):
    """Let so many days pass, one step after the other, with a scan after each. The trigger's time is put back."""
    for days in each:
        with reading() as session:
            was = dict(session.execute(select(License.id, License.next_notice_at)).all())
        with transaction() as session:
            session.execute(update(License).values(expires_at=License.expires_at - days * DAY))
            session.execute(update(ExpiryNotice).values(ends_at=ExpiryNotice.ends_at - days * DAY))
        for license_id, due in was.items():
            set_due(license_id, due and due - days * DAY)
        give()


@pytest.mark.parametrize(
    ("before", "since", "notice"),
    [
        (20 * DAY, 30 * DAY, None),
        (14 * DAY, 14 * DAY, 14),
        (13 * DAY, 14 * DAY, 14),
        (5 * DAY, 14 * DAY, 7),  # after an outage, the most urgent one alone
        (10 * DAY, 10 * DAY, None),  # the end was set now, too late for the first one
        (6 * DAY, 10 * DAY, 7),
        (timedelta(), DAY, 0),
        (-5 * DAY, 14 * DAY, 0),
        (10 * DAY, None, None),
        (-10 * DAY, None, None),
    ],
)
def test_notice_that_is_due(before, since, notice):
    now = END - before
    assert due_notice(END, DAYS, None if since is None else END - since, now) == notice


def test_each_notice_of_a_sale_is_given_once(fake, signer):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com/hooks", actor="cli")
    sell_recurring(fake, signer)
    pass_days(0, 15, 1.1, 0.1, 7, 6, 0.5, 1, 5)
    assert notices() == [14, 7, 1, 0]
    assert events() == ["license.expiring_soon"] * 3 + ["license.expired"]


def test_missed_notices_become_the_most_urgent_one(fake, signer):
    sell_recurring(fake, signer)
    pass_days(0, 29.5)
    assert notices() == [1]
    pass_days(3)
    assert notices() == [1, 0]


def test_license_sold_for_a_short_time_gets_what_lies_ahead(signer):
    make_license("viewer", Terms(duration_seconds=3 * 86_400))
    pass_days(0, 1.5, 1, 1)
    assert notices() == [1, 0]


def test_renewed_license_has_notices_of_its_new_end(fake, signer):
    row = sell_recurring(fake, signer)
    pass_days(0, 16.5)
    pay(fake, open_renewal(row.id), signer)
    give()
    assert notices() == [14]
    pass_days(30)
    assert notices() == [14, 14]


def test_moved_end_into_the_past_is_told(signer):
    row = make_license("viewer", Terms(duration_seconds=30 * 86_400))
    give()
    set_license(row.id, expires_at=func.date_trunc("second", func.now() - DAY))
    give()
    assert notices() == [0]


def test_license_from_before_there_were_notices_gets_the_coming_ones(signer):
    row = make_license("viewer", Terms(duration_seconds=10 * 86_400))
    set_due(row.id, None)
    give()
    assert notices() == []
    pass_days(4)
    assert notices() == [7]


@pytest.mark.parametrize("facts", [{"expires_at": None}, {"status": "suspended"}, {"status": "revoked"}])
def test_license_without_an_end_or_withdrawn_gets_none(signer, facts):
    row = make_license("viewer", Terms(duration_seconds=86_400))
    set_license(row.id, **facts)
    give()
    set_due(row.id, func.now() - DAY)
    give()
    assert notices() == []


def test_license_that_is_valid_again_gets_its_notice(signer):
    row = make_license("viewer", Terms(duration_seconds=86_400))
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.SUSPENDED, "cli", "why")
    pass_days(0, 2)
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.ACTIVE, "cli", "why")
    give()
    assert notices() == [0]


def test_policy_has_its_own_days(signer):
    make_license("viewer", Terms(duration_seconds=100 * 86_400, expiry_notice_days=(60,)))
    pass_days(0, 51)
    assert notices() == [60]


def test_scans_at_once_give_a_notice_once(fake, signer):
    sell_recurring(fake, signer)
    give()
    with transaction() as session:
        session.execute(update(License).values(expires_at=func.date_trunc("second", func.now() + 13 * DAY)))
    with transaction() as session:
        session.execute(update(License).values(next_notice_at=func.now() - 2 * DAY))
    _, surprises = race(1, lambda _round, _racer: give(), count=8)
    assert (notices(), surprises) == ([14], [])


def test_holder_reads_it_with_the_link_to_renew(mailer, mail_server, fake, signer):
    row = sell_recurring(fake, signer)
    send_due(mailer)
    pass_days(0, 16.5)
    send_due(mailer)
    taken = mail_server.taken[-1]
    assert taken.recipients == [BUYER]
    ends = load_license(row.id).expires_at
    assert parsed(taken)["Subject"] == f"Your license for Editor ends on {ends:%Y-%m-%d %H:%M} UTC"
    assert "Renew it here" in text_of(taken)
    assert f"/p/{signer.purchase_token(row.invoice_id)}" in text_of(taken)
    pass_days(14)
    send_due(mailer)
    over = mail_server.taken[-1]
    assert "ended on" in parsed(over)["Subject"]
    assert "It works until" in text_of(over)


def test_new_holder_is_led_to_the_own_page(mailer, mail_server, fake, signer):
    row = sell_recurring(fake, signer)
    with transaction() as session:
        change_holder(session, row.id, "new@example.com", "cli", "sold on")
    pass_days(0, 16.5)
    send_due(mailer)
    taken = mail_server.taken[-1]
    assert taken.recipients == ["new@example.com"]
    assert "/p/" not in text_of(taken)
    assert "/me" in text_of(taken)


def test_renewal_in_between_makes_a_notice_obsolete(mailer, mail_server, fake, signer):
    row = sell_recurring(fake, signer)
    send_due(mailer)
    pass_days(0, 16.5)
    pay(fake, open_renewal(row.id), signer)
    send_due(mailer)
    assert [mail.kind for mail in load_mails() if mail.status == "dropped"] == ["expiring"]
    assert parsed(mail_server.taken[-1])["Subject"] == "Your license for Editor is renewed"


def test_who_cancelled_gets_no_reminders(mailer, mail_on, fake, signer):
    row = sell_recurring(fake, signer)
    send_due(mailer)
    with transaction() as session:
        cancel_subscription(session, row.id, "holder")
    pass_days(0, 16.5, 20)
    assert notices() == [14, 0]
    assert [mail.kind for mail in load_mails()] == ["receipt"]
    assert len(load_licenses()) == 1


def test_days_of_a_policy_are_in_range(fake, signer):
    sell_recurring(fake, signer)
    for days in ([0], [367], list(range(1, 12))):
        with pytest.raises(InvalidInput, match="1 to 366 days"), transaction() as session:
            change_policy(session, "editor", "standard", {"expiry_notice_days": days}, "cli")
