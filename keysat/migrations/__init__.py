"""The schema's history, and the functions that bring a database to its head. Alembic, configured in code.

Only `upgrade` imports Alembic. Each command and process compares revisions, which needs the names of the files alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from keysat.core.db import database_name, engine, reading, translated
from keysat.core.errors import Conflict, SchemaBroken, SchemaMissing, SchemaOutdated, SchemaUnknown
from keysat.migrations.differences import differences

# Any number will do, as long as no other program locks it: "keysat" in ASCII.
_ADVISORY_LOCK = 0x6B6579736174


def _config(connection: Connection | None = None) -> Any:
    from alembic.config import Config  # noqa: PLC0415 - see the top of the file

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def _revisions() -> list[str]:
    """Return all revisions, oldest first. A revision is the number that its file's name starts with."""
    return sorted(path.name.partition("_")[0] for path in (Path(__file__).parent / "versions").glob("[0-9]*_*.py"))


def head() -> str:
    """The revision this version of Keysat is written for."""
    return _revisions()[-1]


def current() -> str | None:
    """The revision the database is at, or None where it has no schema yet."""
    with reading() as session:
        return _current(session.connection())


def _current(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def upgrade() -> tuple[str | None, str]:
    """Bring the database to the head, all or nothing; returns the revisions before and after.

    Any number of processes may call it at once: an advisory lock lets one in after the other.

    Raises:
        SchemaUnknown: the database is at a revision that is none of this version's.
        SchemaBroken: the tables aren't those of the revision that the database claims to be at.
    """
    try:
        with translated():
            return _upgrade()
    except (Conflict, SchemaMissing) as error:
        raise SchemaBroken(database_name(), str(error)) from None
    except DBAPIError as error:
        raise SchemaBroken(database_name(), f"{str(error.orig).partition(chr(10))[0]}.") from None


def _upgrade() -> tuple[str | None, str]:
    from alembic import command  # noqa: PLC0415 - see the top of the file

    with engine().begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        before = _current(connection)
        _require_known(before)
        command.upgrade(_config(connection), "head")
    return before, head()


def require_head() -> None:
    """Refuse to go on with a schema that this version was not written for.

    Raises:
        SchemaOutdated: the database is at another revision, or has no schema.
        SchemaUnknown: its revision is none of this version's.
    """
    found = current()
    _require_known(found)
    if found != head():
        raise SchemaOutdated(found, head())


def _require_known(revision: str | None) -> None:
    if revision is not None and revision not in _revisions():
        raise SchemaUnknown(revision, head())


__all__ = ["current", "differences", "head", "require_head", "upgrade"]
