"""Rows that another version of Keysat wrote."""

from contextlib import contextmanager

from sqlalchemy import text

from keysat.core.db import transaction

_DEFINITION = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name")


@contextmanager
def written_by_another_version(table, row_id, value, column="status"):
    """The row's column has that value while the block lasts. Here the table's constraint allows no such value."""
    constraint, was = f"ck_{table}_{column}", text(f"SELECT {column} FROM {table} WHERE id = :id")
    change = text(f"UPDATE {table} SET {column} = :value WHERE id = :id")
    with transaction() as session:
        definition = session.scalar(_DEFINITION, {"name": constraint})
        before = session.scalar(was, {"id": row_id})
        session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"))
        session.execute(change, {"value": value, "id": row_id})
    try:
        yield
    finally:
        with transaction() as session:
            session.execute(change, {"value": before, "id": row_id})
            session.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}"))
