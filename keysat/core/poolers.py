"""Connections through a pooler such as PgBouncer, which may use another server connection for each transaction.

No state may be bound to one connection there. The limits are set in each transaction, and no statement is prepared.
A pooler is recognized by the process id that it gives for the connection, which differs from PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, event

_POOLED = "keysat_pooled"


def behind_pooler(connection: Connection) -> bool:
    """Whether the connection goes through a pooler."""
    return bool(connection.info.get(_POOLED))


def set_limits(engine: Engine, limits: Mapping[str, str]) -> None:
    """Apply these settings to the engine's connections when they start.

    Behind a pooler, which may refuse that, they are set in each transaction.
    """
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    in_transaction = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in limits.items())
    refused = False

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[Any], given: dict[str, Any]) -> Any:
        nonlocal refused
        if not refused:
            try:
                return psycopg2.connect(*arguments, **{**given, "options": options})
            except psycopg2.OperationalError as error:
                if "startup parameter" not in str(error):
                    raise
                refused = True
        return psycopg2.connect(*arguments, **given)

    @event.listens_for(engine, "connect")
    def _recognize(connection: Any, record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            record.info[_POOLED] = cursor.fetchone()[0] != connection.get_backend_pid()
            if record.info[_POOLED]:
                cursor.execute("SET timezone = 'UTC'")  # poolers track this setting for each client
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver: Any = connection.connection
        if behind_pooler(connection) and not driver.autocommit:
            with driver.cursor() as cursor:
                cursor.execute(in_transaction)
