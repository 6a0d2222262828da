"""The report's columns add up, and match a separate computation."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert

from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.money import Money
from keysat.models import Invoice, Tip
from keysat.operations.report import AMOUNTS, By, Line, as_csv_rows, report, totals
from tests.builders import load_account, make_account, make_catalog, make_invoice, make_license, set_columns

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
FIRST, DAYS, SEED = date(2026, 11, 1), 5, 20_261_125


def read(first=FIRST, last=FIRST + timedelta(days=DAYS - 1)):
    with reading() as session:
        return report(session, first, last)


def at(day, hour=12):
    return datetime(2026, 11, day, hour, tzinfo=UTC)


def sold(day, **facts):
    return make_invoice(status="settled", settled_at=at(day), fulfilled_at=at(day), next_check_at=None, **facts)


def test_each_kind_of_money_has_its_column():
    sold(1, paid_amount=21_000)
    sold(1, paid_amount=25_000, exception="over")
    sold(1, paid_amount=21_000, exception="late")
    sold(1, settled_by_hand=True)
    make_invoice(status="expired", paid_amount=7_000, review_reason="underpaid", review_opened_at=at(1))
    went_back = sold(1, paid_amount=21_000, reversed_at=at(2))
    licensed = make_license("viewer")
    with transaction() as session:
        tip = {"license_id": licensed.id, "invoice_id": went_back.id, "provider_account_id": load_account().id}
        tip |= {"recipient": "dev@example.com", "amount_msat": 1_050_000, "status": "sent", "ended_at": at(2)}
        session.execute(insert(Tip).values(tip))
    first, second = read()
    assert first == Line(date(2026, 11, 1), "editor", "BTC", 5, 63_000, 21_000, 4_000, 7_000)
    assert (first.received, first.net) == (95_000, 88_000)
    assert second == Line(date(2026, 11, 2), "editor", "BTC", reversed=21_000, tips=1_050)
    assert second.net == -22_050


def test_days_are_those_of_utc_and_both_ends_belong_to_the_report():
    for moment in (at(1, 0), at(1, 23), at(5, 23)):
        invoice = sold(1)
        set_columns(invoice.id, settled_at=moment)
    set_columns(sold(1).id, settled_at=at(6, 0))
    assert [(line.day.day, line.sales) for line in read()] == [(1, 2), (5, 1)]


def test_days_turned_around_are_refused():
    with pytest.raises(InvalidInput, match="before it begins"):
        read(FIRST, FIRST - timedelta(days=1))


def test_columns_add_up_to_what_a_recount_by_hand_gives():
    chances = random.Random(SEED)
    make_account()
    for slug, price in (("editor", Money(21_000, "BTC")), ("viewer", Money(1_999, "EUR"))):
        make_catalog(slug, price)
    recount = {}
    for _ in range(120):
        slug, day = chances.choice(["editor", "viewer"]), chances.randint(1, DAYS + 2)
        paid = chances.choice([None, 1_999, 30_000, 500])
        exception = chances.choice(["none", "late", "over", "partial"])
        invoice = sold(day, product=slug, paid_amount=paid, exception=exception)
        back = chances.choice([None, None, day, day + 1])
        if back is not None:
            set_columns(invoice.id, reversed_at=at(min(back, 28)))
        came_in = invoice.amount if paid is None else paid
        charged = min(came_in, invoice.amount)
        line = recount.setdefault((day, slug), dict.fromkeys(AMOUNTS, 0))
        line["sales"] += 1
        line["late" if exception == "late" else "settled"] += charged
        line["over"] += came_in - charged
        if back is not None:
            recount.setdefault((back, slug), dict.fromkeys(AMOUNTS, 0))["reversed"] += came_in
    found = {(line.day.day, line.product): {name: getattr(line, name) for name in AMOUNTS} for line in read()}
    assert found == {key: line for key, line in recount.items() if key[0] <= DAYS}
    for line in [*read(), *totals(read())]:
        assert line.received == line.settled + line.late + line.over + line.under_review
        assert line.net == line.received - line.under_review - line.reversed - line.tips
    for currency, slug in (("BTC", "editor"), ("EUR", "viewer")):
        [total] = [line for line in totals(read()) if line.currency == currency]
        assert total.net == sum(line.net for line in read() if line.product == slug)


def test_line_of_a_product_is_the_sum_of_its_days():
    sold(1, paid_amount=21_000)
    sold(2, paid_amount=25_000, exception="over", reversed_at=at(3))
    with reading() as session:
        lines = report(session, FIRST, FIRST + timedelta(days=DAYS), By.PRODUCT)
    assert lines == [Line(None, "editor", "BTC", sales=2, settled=42_000, over=4_000, reversed=25_000)]
    assert totals(lines) == totals(read()) == [replace(lines[0], product="all products")]


def test_csv_ends_with_the_totals():
    sold(1, paid_amount=21_000)
    heading, line, total = as_csv_rows(read())
    assert heading[:5] == ["day", "product", "currency", "sales", "settled"]
    assert line[:5] == [date(2026, 11, 1), "editor", "BTC", 1, 21_000]
    assert total[:5] == ["total", "all products", "BTC", 1, 21_000]


def test_free_licenses_are_no_sales_of_money():
    with transaction() as session:
        session.execute(Invoice.__table__.delete())
    assert read() == []
