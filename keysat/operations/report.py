"""The money report: payments by kind, day, product and currency, in columns that add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Date, Select, and_, case, cast, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from keysat.core.errors import InvalidInput
from keysat.core.money import MSAT
from keysat.models import Invoice, Product, Tip
from keysat.models.invoice_status import InvoiceStatus, PaymentException
from keysat.models.tip import TipStatus


@dataclass(frozen=True)
class Line:
    """One day (UTC) of one product in one currency. `day` None means all days.

    Amounts are in the smallest unit (sat, cent). `settled` is what was charged and paid in time, and `late` is the same
    for late payments. `over` is what was received beyond the charge, and `under_review` what was received and waits for
    a person. They add up to `received`. `reversed` is what was returned on that day. `net` is
    `received - under_review - reversed - tips`. `sales` is the number of settled invoices.
    """

    day: date | None
    product: str
    currency: str
    sales: int = 0
    settled: int = 0
    late: int = 0
    over: int = 0
    under_review: int = 0
    reversed: int = 0
    tips: int = 0

    @property
    def received(self) -> int:
        """Everything received."""
        return self.settled + self.late + self.over + self.under_review

    @property
    def net(self) -> int:
        """What remains after reviews, reversals and tips."""
        return self.received - self.under_review - self.reversed - self.tips

    def plus(self, line: Line) -> Line:
        """Return the sum of two lines, with this line's day and product."""
        return replace(self, **{name: getattr(self, name) + getattr(line, name) for name in AMOUNTS})

    def to_dict(self) -> dict[str, Any]:
        """Return the line with its sums, for printing."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**facts, "received": self.received, "net": self.net}


class By(StrEnum):
    """What a line of the report covers: one day of a product, or all days of a product."""

    DAY = "day"
    PRODUCT = "product"


AMOUNTS = ("sales", "settled", "late", "over", "under_review", "reversed", "tips")


def report(session: Session, first: date, last: date, by: By = By.DAY) -> list[Line]:
    """Return the lines from `first` to `last`, both included, by day, product and currency, or without the day.

    A payment belongs to the day on which it settled, a review to the day on which it was opened, a reversal or a tip to
    the day on which it happened.

    Raises:
        InvalidInput: the last day is before the first.
    """
    if last == date.max:
        raise InvalidInput(f"the report ends on {last}, after the end of all days.")
    if last < first:
        raise InvalidInput(f"the report ends on {last}, before it begins on {first}; turn the days around.")
    lines: dict[tuple[date, str, str], Line] = {}
    for query in (_settled(first, last), _reviews(first, last), _reversed(first, last), _tips(first, last)):
        for row in session.execute(query).mappings():
            key = (row["day"], row["product"], row["currency"])
            amounts: dict[str, Any] = {name: int(row[name]) for name in AMOUNTS if name in row}
            found = replace(Line(*key), **amounts)
            lines[key] = lines[key].plus(found) if key in lines else found
    days = [lines[key] for key in sorted(lines)]
    return days if by == By.DAY else by_product(days)


def by_product(lines: Iterable[Line]) -> list[Line]:
    """Return the sum of all days for each product and currency."""
    sums: dict[tuple[str, str], Line] = {}
    for line in lines:
        key, whole = (line.product, line.currency), replace(line, day=None)
        sums[key] = sums[key].plus(whole) if key in sums else whole
    return [sums[key] for key in sorted(sums)]


def totals(lines: Iterable[Line]) -> list[Line]:
    """Return the sum of all lines for each currency. Different currencies are not added."""
    return by_product(replace(line, product="all products") for line in lines)


def _settled(first: date, last: date) -> Select[*tuple[Any, ...]]:
    paid = Invoice.came_in
    charged = func.least(paid, Invoice.amount)
    is_late = Invoice.exception == PaymentException.LATE
    return _grouped(
        Invoice.settled_at,
        first,
        last,
        func.count().filter(Invoice.rest_of_id.is_(None)).label("sales"),
        _sum(case((is_late, 0), else_=charged)).label("settled"),
        _sum(case((is_late, charged), else_=0)).label("late"),
        _sum(paid - charged).label("over"),
    ).where(Invoice.status == InvoiceStatus.SETTLED, Invoice.amount > 0)


def _reviews(first: date, last: date) -> Select[*tuple[Any, ...]]:
    waits = and_(Invoice.status != InvoiceStatus.SETTLED, Invoice.review_resolved_at.is_(None))
    under_review = _sum(func.coalesce(Invoice.paid_amount, 0)).label("under_review")
    return _grouped(Invoice.review_opened_at, first, last, under_review).where(waits)


def _reversed(first: date, last: date) -> Select[*tuple[Any, ...]]:
    back = _sum(Invoice.came_in).label("reversed")
    return _grouped(Invoice.reversed_at, first, last, back).where(Invoice.amount > 0)


def _tips(first: date, last: date) -> Select[*tuple[Any, ...]]:
    sent = Tip.status == TipStatus.SENT
    return (
        _grouped(Tip.ended_at, first, last, _sum(Tip.amount_msat // MSAT).label("tips"))
        .join(Tip, Tip.invoice_id == Invoice.id)
        .where(sent)
    )


def _sum(amount: Any) -> Any:
    return func.coalesce(func.sum(amount), literal(0))


def _grouped(at: InstrumentedAttribute[Any], first: date, last: date, *columns: Any) -> Select[*tuple[Any, ...]]:
    """Select sums over the invoices whose time `at` is in these days, UTC."""
    day = cast(func.timezone("UTC", at), Date).label("day")
    begin, end = (datetime.combine(boundary, time(), UTC) for boundary in (first, last + timedelta(days=1)))
    return (
        select(day, Product.slug.label("product"), Invoice.currency, *columns)
        .select_from(Invoice)
        .join(Product, Product.id == Invoice.product_id)
        .where(at >= begin, at < end)
        .group_by(day, Product.slug, Invoice.currency)
    )


def as_csv_rows(lines: Sequence[Line]) -> list[list[object]]:
    """Return a heading, the lines and the totals as rows for a spreadsheet."""
    rows = [*lines, *totals(lines)]
    records = [line.to_dict() for line in rows]
    heading: list[object] = list(Line(date.min, "", "").to_dict())
    body = [list(record.values()) for record in records]
    for row in body[len(lines) :]:
        row[0] = "total"
    return [heading, *body]
