"""Admin route for the report of payments."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from keysat.core.db import reading
from keysat.operations import report
from keysat.web.admin.auth import Reader
from keysat.web.errors import documented

router = APIRouter(prefix="/report", tags=["admin: report"])

First = Annotated[date | None, Query(alias="from", description="The first day, UTC; default: of this month.")]
Last = Annotated[date | None, Query(alias="to", description="The last day, UTC; default: today.")]
Lines = Annotated[report.By, Query(description="A line for each day of a product, or for each product.")]


class ReportLine(BaseModel):
    """One product on one day in one currency, in its smallest unit. Without a day, all days.

    `settled + late + over + under_review = received`, and `received - under_review - reversed - tips = net`.
    """

    day: date | None
    product: str
    currency: str
    sales: int
    settled: int
    late: int
    over: int
    under_review: int
    reversed: int
    tips: int
    received: int
    net: int


class Report(BaseModel):
    """The lines, and their total per currency."""

    lines: list[ReportLine]
    totals: list[ReportLine]


@router.get("", responses=documented())
def get_report(_: Reader, first: First = None, last: Last = None, by: Lines = report.By.DAY) -> Report:
    """Get the payments received, by day, product and currency."""
    today = datetime.now(UTC).date()
    with reading() as session:
        lines = report.report(session, first or today.replace(day=1), last or today, by)
    sums = report.totals(lines)
    return Report(
        lines=[ReportLine(**line.to_dict()) for line in lines], totals=[ReportLine(**line.to_dict()) for line in sums]
    )
