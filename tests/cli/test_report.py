"""`keysat report` and `keysat prune`."""

import csv
import io

import pytest
from sqlalchemy import func

from tests.builders import make_invoice

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def overpaid_sale():
    return make_invoice(status="settled", settled_at=func.now(), paid_amount=25_000, exception="over")


def test_report_is_a_table_csv_or_json_with_totals(keysat, overpaid_sale):
    table = keysat("report", "--from", "2026-01-01")
    assert (table.code, "21,000 sat" in table.out, "total" in table.out) == (0, True, True)
    rows = list(csv.DictReader(io.StringIO(keysat("report", "--from", "2026-01-01", "--csv").out)))
    assert [(row["day"] == "total", row["settled"], row["over"], row["net"]) for row in rows] == [
        (False, "21000", "4000", "25000"),
        (True, "21000", "4000", "25000"),
    ]
    assert keysat("report", "--from", "2026-01-01", "--by", "product", "--json").json["lines"][0]["day"] is None
    assert "--by" in keysat("report", "--from", "2026-01-01", "--by", "week").usage
    report = keysat("report", "--from", "2026-01-01", "--json").json
    assert (report["lines"][0]["received"], report["totals"][0]["net"]) == (25_000, 25_000)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "yesterday"], "must be like 2026-11-25"),
        (["--from", "2026-13-01"], "must be like 2026-11-25"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], "before it begins"),
    ],
)
def test_days_that_can_not_be_are_refused(keysat, arguments, complaint):
    assert complaint in keysat("report", *arguments).refusal


def test_prune_counts_first_and_takes_no_less_than_a_week(keysat):
    assert set(keysat("prune", "--dry-run", "--json").json.values()) == {0}
    assert keysat("prune", "--json").json["webhook_deliveries"] == 0
    assert "--older-than" in keysat("prune", "--older-than", "1").usage
