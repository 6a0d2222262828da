"""Statements that PostgreSQL plans once per connection, because planning them costs more than running them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from keysat.core.poolers import behind_pooler


class Prepared:
    """A SELECT with its own name. Its bind parameters need types."""

    def __init__(self, name: str, statement: Select[Any]) -> None:
        dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled = statement.compile(dialect=dialect)
        names = compiled.positiontup or []
        self._name, self._statement = name, statement
        self._prepare = f"PREPARE {name} AS {compiled}"
        self._execute = (
            text(f"EXECUTE {name} ({', '.join(f':{parameter}' for parameter in names)})")
            .bindparams(*(bindparam(parameter, type_=compiled.binds[parameter].type) for parameter in names))
            .columns(*statement.selected_columns)
        )

    def one_or_none(self, connection: Connection, **values: object) -> Row[Any] | None:
        """Run the statement and return its row, or None. It is first prepared if the connection is new to it.

        Behind a pooler it runs as an ordinary statement, because the next transaction may use another connection.
        """
        if behind_pooler(connection):
            return connection.execute(self._statement, values).one_or_none()
        if self._name not in connection.info:
            connection.exec_driver_sql(self._prepare)
            connection.info[self._name] = True
        return connection.execute(self._execute, values).one_or_none()
