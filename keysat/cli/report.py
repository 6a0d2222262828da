"""`keysat report` and `keysat prune`: report payments, and delete old data."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.core.db import DATABASE, reading
from keysat.core.errors import InvalidInput
from keysat.core.money import amount_text
from keysat.core.settings import load_settings
from keysat.core.texts import csv_cell
from keysat.operations.report import AMOUNTS, By, Line, as_csv_rows, totals
from keysat.operations.report import report as read_report
from keysat.operations.retention import count_prunable
from keysat.operations.retention import prune as delete_old


def report(
    begins: Annotated[str, typer.Option("--from", help="The first day, UTC, as 2026-11-01.")],
    ends: Annotated[str | None, typer.Option("--to", help="The last day, UTC; default: today.")] = None,
    by: Annotated[By, typer.Option(help="A line for each day of a product, or for each product.")] = By.DAY,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, amounts in sats and cents.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report payments by day, product and currency, with totals: settled, late, over, under review, reversed, tips."""
    with reading() as session:
        lines = read_report(session, _day(begins), datetime.now(UTC).date() if ends is None else _day(ends), by)
    if as_csv:
        csv.writer(sys.stdout).writerows([csv_cell(value) for value in row] for row in as_csv_rows(lines))
    elif as_json:
        record = {"lines": [line.to_dict() for line in lines], "totals": [line.to_dict() for line in totals(lines)]}
        print(json.dumps(record, indent=2, default=str))
    else:
        rows = [
            *(_shown(line, str(line.day or "all")) for line in lines),
            *(_shown(line, "total") for line in totals(lines)),
        ]
        show_rows(rows, as_json)


def prune(
    older_than: Annotated[
        int | None, typer.Option(min=7, max=36_500, help="Days; default: KEYSAT_RETENTION_DAYS.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old data: delivered webhooks, sent mail, handled events, checks. The audit log and pending work stay."""
    days = older_than or load_settings().retention_days
    counts = count_prunable(DATABASE, days) if dry_run else delete_old(DATABASE, days)
    show_record(counts, as_json)
    say(f"{'would be' if dry_run else 'were'} deleted, as over for {days} days")


def _shown(line: Line, day: str) -> dict[str, object]:
    money = [name for name in AMOUNTS if name != "sales"]
    amounts = {name: amount_text(getattr(line, name), line.currency) for name in (*money, "received")}
    sign = "-" if line.net < 0 else ""
    net = f"{sign}{amount_text(abs(line.net), line.currency)}"
    return {"day": day, "product": line.product, "sales": line.sales, **amounts, "net": net}


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"day {text[:40]!r} must be like 2026-11-25.") from None
