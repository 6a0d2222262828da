"""How the schema of a database differs from the declared one, down to the last CHECK and index predicate.

The declared tables are made in a schema of their own, in a transaction that nobody commits, and PostgreSQL is asked
to describe both.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

from keysat import models
from keysat.core.db import engine

_SCRATCH = "keysat_declared"
_BOOKKEEPING = "alembic_version"
_CAST_ITEM = re.compile(r"\(('(?:[^']|'')*'::character varying)\)::text")
_CAST_LIST = re.compile(r"\((ARRAY\[[^]]*\])\)::text\[\]")
_DESCRIBE = """
SELECT c.conrelid::regclass::text AS of_table, c.conname || ' ' || pg_get_constraintdef(c.oid) AS description
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname = :schema AND c.conrelid <> 0
UNION ALL
SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = :schema
UNION ALL
SELECT table_name, concat_ws(' ', column_name, udt_name, is_nullable, column_default, is_identity)
FROM information_schema.columns WHERE table_schema = :schema
"""


def differences() -> list[str]:
    """The differences as sentences; empty when the schema is as declared."""
    with engine().connect() as connection:
        there = _describe(connection, str(connection.scalar(text("SELECT current_schema()"))))
        connection.execute(text(f"CREATE SCHEMA {_SCRATCH}"))
        connection.execute(text(f"SET LOCAL search_path TO {_SCRATCH}"))
        models.Invoice.metadata.create_all(connection)
        declared = _describe(connection, _SCRATCH)
    return [
        *(f"{table} lacks: {description}" for table, description in sorted(declared - there)),
        *(f"{table} has, undeclared: {description}" for table, description in sorted(there - declared)),
    ]


def _describe(connection: Connection, schema: str) -> set[tuple[str, str]]:
    rows = connection.execute(text(_DESCRIBE), {"schema": schema})
    plain = [(str(table).rpartition(".")[2], _as_restored(str(line).replace(f"{schema}.", ""))) for table, line in rows]
    return {(table, line) for table, line in plain if table != _BOOKKEEPING}


def _as_restored(description: str) -> str:
    """The same whether a dump was restored: PostgreSQL then casts each item of a list, and not the list as a whole."""
    return _CAST_LIST.sub(r"\1", _CAST_ITEM.sub(r"\1", description))
