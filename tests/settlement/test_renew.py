"""A paid renewal extends its license by one period, once, whatever settles it. A returned payment takes that back."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select
from uuid_utils.compat import uuid7

from keysat.catalog.changes import change_policy
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict
from keysat.licenses.keys import parse
from keysat.licenses.withdraw import change_status
from keysat.models import License, Tip
from keysat.models.invoice_status import PaymentException
from keysat.models.license import LicenseSource, LicenseStatus
from keysat.operations.why import State, read_why
from keysat.providers.base import ProviderStatus
from keysat.sales.rest import pay_rest
from keysat.settlement.by_hand import restore_and_issue, settle_and_issue
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import dismiss
from keysat.settlement.sweep import pages
from keysat.subscriptions.extend import renewed_until
from tests.builders import (
    PRICE,
    audit_actions,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_invoice,
    set_columns,
)
from tests.races import race
from tests.renewals import (
    DAY,
    GRACE,
    PERIOD,
    let_end,
    load_extensions,
    load_license,
    make_recurring,
    open_renewal,
    page_of,
    pay,
    sell_recurring,
    settle,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
END = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


@pytest.fixture
def settled(fake, sold):
    """A renewal that is settled, and not fulfilled yet."""
    return settle(fake, open_renewal(sold.id))


@pytest.mark.parametrize(
    ("paid", "now", "end"),
    [
        (END - 10 * DAY, END - 10 * DAY, END + PERIOD),
        (END + DAY, END + DAY, END + PERIOD),
        (END + GRACE, END + GRACE, END + PERIOD),
        (END + DAY, END + 90 * DAY, END + PERIOD),  # paid in time, and noticed after an outage
        (END + GRACE + timedelta(seconds=1), END + 20 * DAY, END + 20 * DAY + PERIOD),
    ],
)
def test_new_end_follows_the_time_of_the_payment(paid, now, end):
    assert renewed_until(END, GRACE, PERIOD, paid, now) == end


def test_end_of_time_is_not_passed():
    last = datetime(9998, 12, 31, tzinfo=UTC)
    assert renewed_until(last, GRACE, 1_830 * DAY, last, last).year == 9999


def test_paid_renewal_extends_the_license(sold, settled, signer):
    assert issue_now(settled.id, signer.key_id) == sold.id
    row = load_license(sold.id)
    assert row.expires_at == sold.expires_at + PERIOD
    assert [found.id for found in load_licenses()] == [sold.id]
    after = load_invoice(settled.id)
    assert (after.fulfilled, after.next_check_at) == (True, None)
    [extension] = load_extensions()
    assert (extension.invoice_id, extension.previous_end, extension.new_end) == (
        settled.id,
        sold.expires_at,
        row.expires_at,
    )
    assert audit_actions(sold.id) == ["license.issued", "license.renewed"]
    with reading() as session:
        assert read_why(session, after).state is State.LICENSED


def test_second_fulfillment_changes_nothing(sold, settled, signer):
    issue_now(settled.id, signer.key_id)
    set_columns(settled.id, fulfilled_at=None, next_check_at=func.now())
    assert issue_now(settled.id, signer.key_id) is None
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD
    assert load_invoice(settled.id).fulfilled


def test_fifty_processes_extend_once(sold, settled, signer):
    results, surprises = race(1, lambda _round, _racer: issue_now(settled.id, signer.key_id) is not None)
    assert (sum(results), surprises) == (1, [])
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD


def test_two_paid_renewals_are_two_periods(fake, sold, signer):
    first = open_renewal(sold.id)
    set_columns(first.id, expires_at=func.now())
    second = open_renewal(sold.id)
    assert second.id != first.id
    for renewal in (first, second):
        pay(fake, renewal, signer)
    assert load_license(sold.id).expires_at == sold.expires_at + 2 * PERIOD


def test_payment_in_grace_continues_the_license_though_it_is_noticed_later(fake, sold, signer):
    ended = let_end(sold, GRACE - DAY)
    renewal = open_renewal(sold.id)
    let_end(sold, 20 * DAY)
    set_columns(renewal.id, payment_seen_at=func.now() - 15 * DAY)
    pay(fake, renewal, signer)
    assert ended.expires_at is not None
    row = load_license(sold.id)
    [extension] = load_extensions()
    assert row.expires_at == extension.previous_end + PERIOD


def test_payment_after_grace_starts_anew(fake, sold, signer):
    let_end(sold, GRACE + 20 * DAY)
    pay(fake, open_renewal(sold.id), signer)
    [extension] = load_extensions()
    assert extension.extended_at - DAY < load_license(sold.id).expires_at - PERIOD <= extension.extended_at


def test_trial_is_over_with_the_first_renewal(fake, sold, signer):
    with transaction() as session:
        session.get_one(License, sold.id).is_trial = True
    pay(fake, open_renewal(sold.id), signer)
    row = load_license(sold.id)
    assert (row.is_trial, row.expires_at) == (False, sold.expires_at + PERIOD)


def test_returned_payment_takes_back_its_period_only(fake, sold, signer):
    sold = let_end(sold, timedelta())
    first = pay(fake, open_renewal(sold.id), signer)
    pay(fake, open_renewal(sold.id), signer)
    fake.say(first.provider_invoice_id, ProviderStatus.INVALID, PaymentException.MARKED)
    for _ in range(2):
        check_invoice(first.id)
    row = load_license(sold.id)
    assert (row.status, row.expires_at) == (LicenseStatus.ACTIVE, sold.expires_at + PERIOD)
    assert load_invoice(first.id).reversed
    assert [extension.taken_back for extension in load_extensions()] == [True, False]


def test_undone_reversal_adds_the_period_again(fake, sold, signer):
    renewal = pay(fake, open_renewal(sold.id), signer)
    fake.say(renewal.provider_invoice_id, ProviderStatus.INVALID, PaymentException.MARKED)
    check_invoice(renewal.id)
    restore_and_issue(DATABASE, renewal.id, "the bank was wrong", lambda: signer.key_id, "cli")
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD
    assert audit_actions(sold.id)[-2:] == ["license.shortened", "license.extended_again"]


def test_reversed_purchase_suspends_and_keeps_the_renewed_end(fake, sold, signer):
    pay(fake, open_renewal(sold.id), signer)
    bought = load_invoice(sold.invoice_id)
    fake.say(bought.provider_invoice_id, ProviderStatus.INVALID, PaymentException.MARKED)
    check_invoice(bought.id)
    row = load_license(sold.id)
    assert (row.status, row.expires_at) == (LicenseStatus.SUSPENDED, sold.expires_at + PERIOD)


@pytest.mark.parametrize("change", ["revoked", "perpetual"])
def test_money_for_a_license_that_cannot_be_renewed_goes_to_review(sold, settled, signer, change):
    with transaction() as session:
        if change == "revoked":
            change_status(session, sold.id, LicenseStatus.REVOKED, "cli", "fraud")
        else:
            session.get_one(License, sold.id).expires_at = None
    for _ in range(2):
        issue_now(settled.id, signer.key_id) if not load_invoice(settled.id).in_review else None
    after = load_invoice(settled.id)
    assert (after.in_review, after.review_reason, after.fulfilled) == (True, "excess", False)
    assert load_extensions() == []
    with transaction() as session:
        dismiss(session, settled.id, "sent back", "cli")
    assert not load_invoice(settled.id).in_review


@pytest.mark.parametrize("how", ["check", "sweep", "by hand"])
def test_each_way_to_settle_extends_and_issues_nothing(fake, sold, signer, how):
    renewal = open_renewal(sold.id)
    if how == "by hand":
        assert settle_and_issue(DATABASE, renewal.id, "paid in cash", lambda: signer.key_id, "cli") == sold.id
    else:
        fake.say(renewal.provider_invoice_id, ProviderStatus.SETTLED, PaymentException.NONE, renewal.amount)
        if how == "sweep":
            found = list(pages(DATABASE, load_account().id, SettlementRules()))
            assert renewal.id in [claim.row_id for page in found for claim in page.changed]
        check_invoice(renewal.id)
        issue_now(renewal.id, signer.key_id)
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD
    assert len(load_licenses()) == 1


def test_renewal_paid_in_two_parts_extends_once(fake, sold, signer):
    renewal = open_renewal(sold.id)
    fake.say(renewal.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, 1_000)
    check_invoice(renewal.id)
    rest = load_invoice(pay_rest(DATABASE, renewal.id, "page", page_of))
    assert rest.amount == PRICE - 1_000
    pay(fake, rest, signer)
    check_invoice(renewal.id)
    issue_now(renewal.id, signer.key_id)
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD
    assert len(load_licenses()) == 1


def test_worker_of_the_version_before_cannot_issue_a_second_license(sold, settled):
    values = {column.name: getattr(sold, column.name) for column in License.__table__.columns}
    values |= {"id": uuid7(), "invoice_id": settled.id, "source": LicenseSource.PURCHASE}
    with pytest.raises(Conflict, match="renews a license"), transaction() as session:
        session.execute(insert(License).values(values))


def test_license_sold_once_stays_so_when_the_policy_begins_to_renew(fake, signer):
    invoice = pay(fake, make_invoice(), signer)
    make_recurring()
    [row] = load_licenses(invoice.id)
    assert not row.is_recurring
    with pytest.raises(Conflict, match="was sold once"):
        open_renewal(row.id)


def test_key_lasts_to_the_end_of_the_grace_period(sold, signer):
    assert parse(signer.key_for(sold)).expires_at == int((sold.expires_at + GRACE).timestamp())


def test_each_payment_has_its_own_tip(fake, sold, signer):
    with transaction() as session:
        tip = {"tip_recipient": "dev@example.com", "tip_pct_bps": 500}
        change_policy(session, "editor", "standard", tip, "cli")
    let_end(sold, timedelta())
    renewals = [pay(fake, open_renewal(sold.id), signer) for _ in range(2)]
    with reading() as session:
        tips = session.scalars(select(Tip).order_by(Tip.id)).all()
    assert [(tip.invoice_id, tip.license_id, tip.amount_msat) for tip in tips] == [
        (renewal.id, sold.id, PRICE * 50) for renewal in renewals
    ]
