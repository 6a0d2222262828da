"""A statement that PostgreSQL plans once for each connection, where planning it costs more than running it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from keysat.core.poolers import behind_pooler


class Prepared:
    """A SELECT under a name of its own; its bind parameters need their types."""

    def __init__(self, name: str, statement: Select[Any]) -> None:
        dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled = statement.compile(dialect=dialect)
        names = compiled.positiontup or []
        self._name, self._statement = name, statement
        self._prepare = f"PREPARE {name} AS {compiled}"
        self._execute = (
            text(f"EXECUTE {name} ({', '.join(f':{each}' for each in names)})")
            .bindparams(*(bindparam(each, type_=compiled.binds[each].type) for each in names))
            .columns(*statement.selected_columns)
        )

    def one_or_none(self, connection: Connection, **values: object) -> Row[Any] | None:
        """Run it, and give the row, or None where there is none; prepared first on a connection that is new to it.

        Behind a pooler it is an ordinary statement: what one transaction prepares is on another connection in the next.
        """
        if behind_pooler(connection):
            return connection.execute(self._statement, values).one_or_none()
        if self._name not in connection.info:
            connection.exec_driver_sql(self._prepare)
            connection.info[self._name] = True
        return connection.execute(self._execute, values).one_or_none()
