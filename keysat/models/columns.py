"""Column types, and parts of statements, shared by several tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, DateTime, Dialect, Select, String, TypeDecorator, func
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import InstrumentedAttribute, MappedColumn, mapped_column
from uuid_utils.compat import uuid7

Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
Time = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]

E = TypeVar("E", bound=StrEnum)
S = TypeVar("S", bound=Select[*tuple[Any, ...]])


class _StringEnum(TypeDecorator[E]):
    """A text column whose values are the members of an enum.

    A text that isn't one of them was written by another version of Keysat. It is returned as it is, and equals no
    member, so that one such row doesn't fail the query that reads it.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind
        self._members: dict[str, E] = {member.value: member for member in kind}

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002
        """Return the member of a stored text."""
        return None if value is None else self._members.get(value, cast("E", value))


def enum_column(kind: type[E], default: E | None = None) -> MappedColumn[E]:
    """Return a text column for the members of an enum. `default` is written by the database."""
    return mapped_column(_StringEnum(kind), server_default=default)


def seconds(amount: object) -> ColumnElement[timedelta]:
    """Convert a number of seconds to an interval in SQL. NULL stays NULL."""
    return func.make_interval(0, 0, 0, 0, 0, 0, amount, type_=INTERVAL)


def newest(wanted: S, row_id: InstrumentedAttribute[Any], limit: int | None, before: object = None) -> S:
    """Limit a query to its newest rows, at most `limit`, and to those older than the one with the id `before`."""
    older = [] if before is None else [row_id < before]
    return wanted.where(*older).order_by(row_id.desc()).limit(limit)


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
