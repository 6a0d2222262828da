"""A database's clock that jumps by days and back: nothing ends on one reading of it, and nothing waits for days."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, update

from keysat.accounts.breaker import callable_accounts
from keysat.accounts.inbox import claim_events, store
from keysat.core.db import reading, transaction
from keysat.core.errors import RemoteNotFound
from keysat.invoices.due import claim_due, claim_settled, claim_unfulfilled
from keysat.models import ProviderEvent, TaskRun
from keysat.models.task_run import note_run, ran_within
from keysat.providers.base import ProviderStatus, ReceivedEvent
from tests.builders import (
    PRICE,
    check_invoice,
    load_account,
    load_invoice,
    make_invoice,
    set_account,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

AHEAD = timedelta(days=40)


def age(invoice_id, **by):
    """Let the database's clock be that much ahead, from this invoice's view."""
    set_columns(invoice_id, created_at=func.now() - timedelta(**by))


def test_one_check_by_a_wrong_clock_ends_nothing():
    invoice = make_invoice()
    age(invoice.id, days=40)
    check_invoice(invoice.id)
    noted = load_invoice(invoice.id)
    assert noted.final_check_at is not None
    assert noted.next_check_at is not None
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is not None


def test_clock_that_came_back_forgets_the_first_reading():
    invoice = make_invoice()
    age(invoice.id, days=40)
    check_invoice(invoice.id)
    age(invoice.id, minutes=1)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).final_check_at is None


def test_first_reading_from_the_future_counts_for_nothing():
    invoice = make_invoice(final_check_at=func.now() + AHEAD)
    age(invoice.id, days=40)
    check_invoice(invoice.id)
    ended = load_invoice(invoice.id)
    assert ended.next_check_at is not None
    assert ended.final_check_at < load_invoice(make_invoice().id).created_at


def test_second_reading_of_another_day_ends_the_checks():
    invoice = make_invoice(final_check_at=func.now() - timedelta(days=1, minutes=1))
    age(invoice.id, days=40)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is None


def test_not_found_by_a_wrong_clock_ends_nothing(fake):
    invoice = make_invoice()
    del fake.snapshots[invoice.provider_invoice_id]
    age(invoice.id, days=40)
    for _ in range(2):
        with pytest.raises(RemoteNotFound):
            check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is not None


def test_answer_that_is_not_understood_ends_nothing(fake):
    invoice = make_invoice(final_check_at=func.now() - timedelta(days=2))
    age(invoice.id, days=40)
    fake.say(invoice.provider_invoice_id, ProviderStatus.UNKNOWN)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is not None


def claimed(claim):
    with transaction() as session:
        return [row.row_id for row in claim(session, 10)]


def test_invoice_due_in_weeks_is_due_now():
    invoice = make_invoice(next_check_at=func.now() + AHEAD)
    assert claimed(partial(claim_due, account_id=load_account().id)) == [invoice.id]


def test_license_due_in_weeks_is_due_now(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    set_columns(invoice.id, next_check_at=func.now() + AHEAD)
    assert claimed(claim_unfulfilled) == [invoice.id]


def test_reversal_check_due_in_weeks_is_due_now(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    set_columns(invoice.id, reversal_check_at=func.now() + AHEAD)
    assert claimed(partial(claim_settled, account_id=load_account().id)) == [invoice.id]


def test_event_due_in_weeks_is_due_now():
    invoice = make_invoice()
    with transaction() as session:
        event = ReceivedEvent("delivery", "kind", invoice.provider_invoice_id)
        event_id = store(session, load_account().id, event, b"{}")
        session.execute(update(ProviderEvent).values(next_attempt_at=func.now() + AHEAD))
    assert claimed(claim_events) == [event_id]


def test_account_that_rests_for_weeks_is_called_now():
    make_invoice()
    set_account(open_until=func.now() + AHEAD)
    with reading() as session:
        assert len(callable_accounts(session)) == 1


@pytest.mark.parametrize("days", [-40, 40])
def test_run_of_another_time_is_no_reason_to_delete(days):
    with transaction() as session:
        note_run(session, "prune")
        assert ran_within(session, "prune", timedelta(days=2))
        session.execute(update(TaskRun).values(last_run_at=func.now() + timedelta(days=days)))
        assert not ran_within(session, "prune", timedelta(days=2))
