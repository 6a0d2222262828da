"""When to check again: the table, and the same result computed by the database."""

from datetime import timedelta

import pytest
from sqlalchemy import func, literal, select, text

from keysat.core.db import reading, transaction
from keysat.invoices.schedule import ABANDONED, FINAL_CHECK_INTERVAL, JITTER, STEPS, UNFULFILLED, interval, next_check
from keysat.models import Invoice
from keysat.models.invoice_status import InvoiceStatus
from tests.builders import make_invoice, set_columns

PENDING, EXPIRED, INVALID, SETTLED = InvoiceStatus


def seconds(count):
    return timedelta(seconds=count)


minutes, hours, days = (lambda count, unit=unit: timedelta(**{unit: count}) for unit in ("minutes", "hours", "days"))
MOMENT = seconds(1)

TABLE = [
    (PENDING, seconds(0), seconds(30)),
    (PENDING, minutes(30) - MOMENT, seconds(30)),
    (PENDING, minutes(30), minutes(2)),
    (PENDING, hours(2) - MOMENT, minutes(2)),
    (PENDING, hours(2), minutes(15)),
    (PENDING, hours(24) - MOMENT, minutes(15)),
    (PENDING, hours(24), hours(1)),
    (PENDING, hours(72) - MOMENT, hours(1)),
    (PENDING, hours(72), hours(6)),
    (PENDING, days(30) - MOMENT, hours(6)),
    (PENDING, days(30), None),
    (PENDING, days(400), None),
    (EXPIRED, seconds(0), minutes(2)),
    (EXPIRED, hours(2) - MOMENT, minutes(2)),
    (EXPIRED, hours(2), hours(1)),
    (EXPIRED, hours(24) - MOMENT, hours(1)),
    (EXPIRED, hours(24), hours(6)),
    (EXPIRED, days(30) - MOMENT, hours(6)),
    (EXPIRED, days(30), None),
    (INVALID, seconds(0), minutes(2)),
    (INVALID, hours(2), hours(1)),
    (INVALID, hours(24), hours(6)),
    (INVALID, days(30) - MOMENT, hours(6)),
    (INVALID, days(30), None),
    (ABANDONED, seconds(0), minutes(2)),
    (ABANDONED, minutes(30), minutes(10)),
    (ABANDONED, hours(2), hours(3)),
    (ABANDONED, hours(24), hours(12)),
    (ABANDONED, days(3), hours(24)),
    (ABANDONED, days(30) - MOMENT, hours(24)),
    (ABANDONED, days(30), None),
    (SETTLED, seconds(0), seconds(30)),
    (SETTLED, days(29), seconds(30)),
    (SETTLED, days(30), seconds(30)),
    (SETTLED, days(4_000), seconds(30)),
]


@pytest.mark.parametrize(("status", "age", "wait"), TABLE)
def test_wait_depends_on_status_and_age(status, age, wait):
    assert interval(status, age) == wait


def calls_until_the_end(status, age):
    calls = 0
    while (wait := interval(status, age)) is not None:
        age, calls = age + wait * (1 - JITTER / 2), calls + 1
    return calls


def test_unpaid_invoice_costs_few_calls():
    expires = minutes(15)  # BTCPay's default
    open_calls = expires // (seconds(30) * (1 - JITTER / 2))
    assert calls_until_the_end(EXPIRED, expires) + open_calls > 200
    assert calls_until_the_end(ABANDONED, expires) + open_calls < 100


@pytest.mark.parametrize("status", STEPS)
def test_older_invoices_are_checked_less_often(status):
    waits = [step.every for step in STEPS[status]]
    ages = [step.until_age for step in STEPS[status]]
    assert waits == sorted(waits)
    assert ages == sorted(ages)


@pytest.mark.parametrize("age", [seconds(-60), timedelta(0)])
def test_clock_that_ran_backwards_stops_no_invoice(age):
    assert interval(PENDING, age) == seconds(30)


@pytest.fixture
def invoice(empty_database, fake):
    return make_invoice()


def sql_wait(invoice, status, age, times):
    """What the database makes of it: the shortest and the longest of several waits, and how many are not NULL."""
    settled_at = func.now() if status is SETTLED else None
    seen_at = None if status == ABANDONED else func.now()
    status = EXPIRED if status == ABANDONED else status
    set_columns(invoice.id, status=status, settled_at=settled_at, payment_seen_at=seen_at)
    wait = next_check(Invoice.status, Invoice.created_at) - func.now()
    numbers = func.generate_series(1, times).table_valued("n")
    with transaction() as session:  # one transaction, one now(): the age is exact
        session.execute(
            text("UPDATE invoices SET created_at = now() - CAST(:age AS interval)"), {"age": f"{age.total_seconds()} s"}
        )
        return session.execute(
            select(func.min(wait), func.max(wait), func.count(wait)).select_from(Invoice).join(numbers, literal(True))
        ).one()


@pytest.mark.parametrize(("status", "age", "wait"), TABLE)
def test_database_computes_the_same_wait_or_up_to_a_tenth_less(invoice, status, age, wait):
    shortest, longest, waits = sql_wait(invoice, status, age, 200)
    wait = wait or FINAL_CHECK_INTERVAL  # which repeats until it succeeds
    assert wait * (1 - JITTER) <= shortest < longest <= wait
    assert waits == 200


def test_jitter_spreads_over_the_whole_tenth(invoice):
    shortest, longest, _ = sql_wait(invoice, PENDING, seconds(0), 5_000)
    assert shortest < seconds(30) * 0.91
    assert longest > seconds(30) * 0.99


def test_new_invoice_is_checked_after_half_a_minute(invoice):
    with reading() as session:
        waits = session.scalar(select(Invoice.next_check_at - Invoice.created_at))
    assert waits == seconds(30) == UNFULFILLED
