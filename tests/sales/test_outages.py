"""A license lapses only if its renewal could be paid for the whole grace period."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.licenses.state import Reason, evaluate
from keysat.models import License, ProviderAccount, TaskRun
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.sales.outages import MAX_GAP, RUN, credit_outages
from keysat.web.state import read_key
from tests.builders import make_account, set_account, set_license
from tests.races import race
from tests.renewals import DAY, GRACE, load_license, load_subscription, open_renewal, pay, sell_recurring

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
MINUTE = timedelta(minutes=1)
AHEAD = timedelta(minutes=10)


@pytest.fixture
def sold(fake, signer):
    row = sell_recurring(fake, signer)
    run()
    return row


def run():
    """Credit what the time since the last run was."""
    with transaction() as session:
        return credit_outages(session)


def let_pass(span):
    """Move what has a time into the past."""
    with transaction() as session:
        session.execute(update(License).values(expires_at=License.expires_at - span))
        session.execute(update(TaskRun).values(last_run_at=TaskRun.last_run_at - span))


def end_now(row, ago=timedelta()):
    set_license(row.id, expires_at=select(func.date_trunc("second", func.now() - ago)).scalar_subquery())


def fail(name="main", **facts):
    """Let the breaker for new invoices of an account be open."""
    failing = {"create_failure_count": FAILURES_TO_OPEN, "create_open_until": func.now() + MINUTE}
    set_account(name, **{**failing, **facts})


def credit(row):
    return timedelta(seconds=load_license(row.id).outage_seconds)


def is_valid(row, signer):
    reason = evaluate(DATABASE, read_key, signer.key_for(load_license(row.id))).reason
    assert reason in {None, Reason.EXPIRED}
    return reason is None


def test_license_lapses_after_its_grace_if_nothing_was_wrong(sold, signer):
    end_now(sold)
    for _ in range(3):
        let_pass(MINUTE)
        assert run() == 0
    end_now(sold, GRACE - MINUTE)
    assert is_valid(sold, signer)
    let_pass(2 * MINUTE)
    run()
    assert not is_valid(sold, signer)


def test_license_outlives_an_outage_of_its_provider_at_each_moment(sold, signer):
    """Its grace ends in the middle of it. It is valid all the time, and lapses a little after it."""
    end_now(sold, GRACE - MINUTE)
    run()
    for _ in range(60):
        fail()
        run()
        let_pass(MINUTE)
        assert is_valid(sold, signer)
    assert timedelta(minutes=59) <= credit(sold) <= timedelta(minutes=60) + AHEAD
    set_account(create_failure_count=0, create_open_until=None)
    let_pass(AHEAD + 2 * MINUTE)
    set_run_now()
    assert not is_valid(sold, signer)


def set_run_now():
    with transaction() as session:
        session.execute(update(TaskRun).values(last_run_at=func.now()))


@pytest.mark.parametrize(
    "trouble",
    [
        {"paused_at": func.now(), "pause_reason": "by hand"},
        {"failure_count": FAILURES_TO_OPEN, "open_until": func.now() + MINUTE},
        {"create_failure_count": FAILURES_TO_OPEN, "create_open_until": func.now() - MINUTE},
    ],
)
def test_account_that_cannot_be_paid_stops_the_clock(sold, trouble):
    end_now(sold, DAY)
    set_account(**trouble)
    let_pass(MINUTE)
    assert run() == 1
    assert MINUTE <= credit(sold) <= 2 * MINUTE


@pytest.mark.parametrize(
    "fine",
    [
        {"create_failure_count": 0},
        {"create_failure_count": 1, "create_open_until": None},
        {"create_failure_count": FAILURES_TO_OPEN, "create_open_until": func.now() - timedelta(hours=2)},
    ],
)
def test_account_that_can_be_paid_does_not(sold, fine):
    end_now(sold, DAY)
    set_account(**fine)
    let_pass(MINUTE)
    assert run() == 0


def test_other_accounts_do_not_matter(sold):
    make_account("other", store_id="another-store", api_key="key-of-test-store")
    end_now(sold, DAY)
    fail("other")
    let_pass(MINUTE)
    assert run() == 0
    with transaction() as session:
        spare = session.scalars(select(ProviderAccount.id).where(ProviderAccount.name == "other")).one()
        session.merge(load_subscription(sold.id)).provider_account_id = spare
    let_pass(MINUTE)
    assert run() == 1


def test_subscription_without_an_account_waits_for_all_that_sell(sold):
    make_account("other", store_id="another-store", api_key="key-of-test-store")
    set_account("other", selling_rank=2)
    with transaction() as session:
        session.merge(load_subscription(sold.id)).provider_account_id = None
    end_now(sold, DAY)
    fail("main")
    let_pass(MINUTE)
    assert run() == 0
    fail("other")
    let_pass(MINUTE)
    assert run() == 1


def test_time_in_which_we_did_not_run_is_credited(sold, signer):
    end_now(sold, GRACE - MINUTE)
    run()
    let_pass(3 * DAY)
    assert not is_valid(sold, signer)
    assert run() == 1
    assert is_valid(sold, signer)
    assert 3 * DAY <= credit(sold) <= 3 * DAY + AHEAD


def test_short_gap_between_two_runs_is_none(sold):
    end_now(sold, DAY)
    run()
    let_pass(MAX_GAP - MINUTE)
    assert run() == 0


def test_only_the_time_in_grace_counts(sold):
    end_now(sold, -DAY)
    run()
    let_pass(3 * DAY)
    assert run() == 1
    assert 2 * DAY - MINUTE <= credit(sold) <= 2 * DAY + MINUTE


@pytest.mark.parametrize("facts", [{"status": "suspended"}, {"is_recurring": False}, {"expires_at": None}])
def test_license_that_nobody_renews_gets_nothing(sold, facts):
    end_now(sold, DAY)
    set_license(sold.id, **facts)
    let_pass(3 * DAY)
    assert run() == 0


def test_license_that_had_lapsed_before_stays_so(sold):
    end_now(sold, GRACE + DAY)
    run()
    let_pass(DAY)
    assert run() == 0


def test_clock_set_back_credits_nothing(sold):
    end_now(sold, DAY)
    with transaction() as session:
        session.execute(update(TaskRun).values(last_run_at=func.now() + DAY))
    assert run() == 0
    let_pass(MINUTE)
    assert run() == 0


def test_runs_at_once_credit_the_time_once(sold):
    end_now(sold, DAY)
    run()
    let_pass(2 * DAY)
    results, surprises = race(1, lambda _round, _racer: run(), count=8)
    assert (sorted(results), surprises) == ([0] * 7 + [1], [])
    assert 2 * DAY <= credit(sold) <= 2 * DAY + MINUTE


def test_payment_in_the_lengthened_grace_continues_the_license(fake, sold, signer):
    end_now(sold, GRACE + DAY)
    set_license(sold.id, outage_seconds=int((2 * DAY).total_seconds()))
    before = load_license(sold.id)
    pay(fake, open_renewal(sold.id), signer)
    row = load_license(sold.id)
    assert (row.expires_at, row.outage_seconds) == (before.expires_at + timedelta(days=30), 0)


def test_each_run_is_noted(sold):
    with reading() as session:
        assert session.scalar(select(TaskRun.name).where(TaskRun.name == RUN)) == RUN
