"""Column types shared by several tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, DateTime, func
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import mapped_column
from uuid_utils.compat import uuid7

Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
Time = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]


def seconds(amount: object) -> ColumnElement[timedelta]:
    """Convert a number of seconds to an interval in SQL. NULL stays NULL."""
    return func.make_interval(0, 0, 0, 0, 0, 0, amount, type_=INTERVAL)


def is_set(column: str) -> hybrid_property[bool]:
    """Return a predicate, for a row and in SQL, that a column isn't NULL."""

    def in_python(row: Any) -> bool:
        return getattr(row, column) is not None

    def in_sql(table: Any) -> ColumnElement[bool]:
        condition: ColumnElement[bool] = getattr(table, column).is_not(None)
        return condition

    return hybrid_property(in_python, expr=in_sql)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """Return a constraint that limits a text column to an enum's values or NULL."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
