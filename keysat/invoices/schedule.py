"""When to look at an invoice again: often while buyers are likely to pay, rarely later. Pure.

One table serves two readers: `interval` for people and tests, `next_check` for the claim, which computes the next due
time in SQL on the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func
from sqlalchemy.orm import InstrumentedAttribute

from keysat.models.columns import seconds
from keysat.models.invoice import Invoice, InvoiceStatus

JITTER = 0.1
# After the last step an invoice is still tried this often until one look succeeds, and then no more.
LAST_LOOK = timedelta(hours=1)
# Two checks this far apart have to find an invoice too old: nothing ends on one reading of a clock.
FINAL_AFTER = timedelta(hours=24)
UNFULFILLED = timedelta(seconds=30)
# Settled invoices are checked for money that went back, this often, for so long.
REVERSAL_CHECK = timedelta(days=1)
REVERSAL_DAYS = timedelta(days=60)


@dataclass(frozen=True)
class Step:
    """Up to this age, an invoice is looked at this often."""

    until_age: timedelta
    every: timedelta


_LAST_DAYS = Step(timedelta(days=30), timedelta(hours=6))
# A buyer who pays just after the invoice ran out must not wait for hours, so an expired one is left alone gradually.
_CLOSED = (
    Step(timedelta(hours=2), timedelta(minutes=2)),
    Step(timedelta(hours=24), timedelta(hours=1)),
    _LAST_DAYS,
)
# No status, but what is closed and nobody began to pay: an anonymous purchase must not cost hundreds of calls.
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
    # Settled and due means that its license is missing: that is owed for ever.
    InvoiceStatus.SETTLED: (Step(timedelta.max, UNFULFILLED),),
}


# No wait is longer: a due time beyond it was written by a clock that was wrong, and is due.
MAX_WAIT = timedelta(hours=25)


def interval(status: str, age: timedelta) -> timedelta | None:
    """How long to wait before the next look, without jitter; None when no further look is due.

    `status` is an invoice's, or ABANDONED.
    """
    return next((step.every for step in STEPS[status] if age < step.until_age), None)


def next_check(
    status: InstrumentedAttribute[str], created_at: InstrumentedAttribute[datetime]
) -> ColumnElement[datetime]:
    """The same as an SQL expression: the database's time of the next look, up to 10 % early by chance.

    Early, not late: a wait that ends just after a tick would last until the next one, half as long again, and a second
    beat, ticking in between, would then ask the provider that much more often.
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
    wait = case(*branches, else_=LAST_LOOK.total_seconds())
    return func.now() + seconds(wait * (1 - JITTER * func.random()))
