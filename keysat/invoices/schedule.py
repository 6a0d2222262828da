"""Schedule the checks of an invoice: often while buyers are likely to pay, rarely later. Pure.

Two functions read the same table: `interval` in Python, and `next_check` for the claim, which computes the time of the
next check in SQL on the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func
from sqlalchemy.orm import InstrumentedAttribute

from keysat.models.columns import seconds
from keysat.models.invoice import Invoice
from keysat.models.invoice_status import InvoiceStatus

JITTER = 0.1
# After the last step, an invoice is checked this often until its final check succeeds.
FINAL_CHECK_INTERVAL = timedelta(hours=1)
# Two checks this far apart have to find an invoice too old, because a single clock reading may be wrong.
FINAL_AFTER = timedelta(hours=24)
UNFULFILLED = timedelta(seconds=30)
# Settled invoices are checked for reversed payments at this interval, for this long.
REVERSAL_CHECK = timedelta(days=1)
REVERSAL_DAYS = timedelta(days=60)


@dataclass(frozen=True)
class Step:
    """Up to the age `until_age`, an invoice is checked at the interval `every`."""

    until_age: timedelta
    every: timedelta


_LAST_DAYS = Step(timedelta(days=30), timedelta(hours=6))
# A buyer who pays just after the invoice expired must not wait for hours, so its checks become rarer gradually.
_CLOSED = (
    Step(timedelta(hours=2), timedelta(minutes=2)),
    Step(timedelta(hours=24), timedelta(hours=1)),
    _LAST_DAYS,
)
# Not a status: closed invoices without any payment. An anonymous purchase must not cost hundreds of calls.
ABANDONED = "abandoned"
STEPS: dict[str, tuple[Step, ...]] = {
    ABANDONED: (
        Step(timedelta(minutes=30), timedelta(minutes=2)),
        Step(timedelta(hours=2), timedelta(minutes=10)),
        Step(timedelta(hours=24), timedelta(hours=3)),
        Step(timedelta(days=3), timedelta(hours=12)),
        Step(timedelta(days=30), timedelta(hours=24)),
    ),
    InvoiceStatus.PENDING: (
        Step(timedelta(minutes=30), timedelta(seconds=30)),
        Step(timedelta(hours=2), timedelta(minutes=2)),
        Step(timedelta(hours=24), timedelta(minutes=15)),
        Step(timedelta(hours=72), timedelta(hours=1)),
        _LAST_DAYS,
    ),
    InvoiceStatus.EXPIRED: _CLOSED,
    InvoiceStatus.INVALID: _CLOSED,
    # A settled invoice with a next check has no license yet. These checks never end.
    InvoiceStatus.SETTLED: (Step(timedelta.max, UNFULFILLED),),
}


# The max wait. A `next_check_at` beyond it was written by a wrong clock, and the invoice is checked now.
MAX_WAIT = timedelta(hours=25)


def interval(status: str, age: timedelta) -> timedelta | None:
    """Return the wait before the next check, without jitter, or None if no further check is scheduled.

    `status` is an `InvoiceStatus`, or ABANDONED. The checks of an invoice in a status of another version never end.
    """
    if status not in STEPS:
        return FINAL_CHECK_INTERVAL
    return next((step.every for step in STEPS[status] if age < step.until_age), None)


def next_check(
    status: InstrumentedAttribute[str], created_at: InstrumentedAttribute[datetime]
) -> ColumnElement[datetime]:
    """Return the database time of the next check as an SQL expression, randomly up to 10 % early.

    It is early, not late: a wait that ends just after a tick would last until the next tick, half as long again. A
    second beat that ticks in between would then query the provider that much more often.
    """
    age = func.now() - created_at
    abandoned = and_(
        status.in_([InvoiceStatus.EXPIRED, InvoiceStatus.INVALID]),
        Invoice.payment_seen_at.is_(None),
        func.coalesce(Invoice.paid_amount, 0) == 0,
    )
    applies = {name: status == name for name in InvoiceStatus} | {ABANDONED: abandoned}
    branches: list[tuple[Any, Any]] = [
        (
            applies[name] if step.until_age == timedelta.max else and_(applies[name], age < step.until_age),
            step.every.total_seconds(),
        )
        for name, steps in STEPS.items()
        for step in steps
    ]
    wait = case(*branches, else_=FINAL_CHECK_INTERVAL.total_seconds())
    return func.now() + seconds(wait * (1 - JITTER * func.random()))
