"""The database: one engine per process, and `transaction()`, the only place that commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session

from keysat.core.errors import Conflict, DatabaseBusy, DatabaseUnavailable, SchemaMissing
from keysat.core.poolers import set_limits
from keysat.core.settings import load_settings

# A transaction here is a few statements. One that takes longer is stuck and must release its locks.
_SESSION_OPTIONS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}
# SQLSTATE classes that mean no working connection: connection, authorization, catalog, shutdown, resources.
_CONNECTION_STATES = ("08", "28", "3D", "53", "57P")

# Serialization failure, deadlock, lock timeout, statement timeout. 26000 and 42P05: a prepared statement that another
# connection has, which only a pooler that isn't recognized can cause.
_ROLLED_BACK_STATES = {"40001", "40P01", "55P03", "57014", "26000", "42P05"}

# Undefined table, undefined column.
_MISSING_SCHEMA_STATES = {"42P01", "42703"}


class Base(DeclarativeBase):
    """The base class of all tables. Constraints get names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@dataclass(frozen=True)
class Database:
    """The two ways to open a session, passed by the entry points to code with HTTP between two transactions."""

    reading: Callable[[], AbstractContextManager[Session]]
    transaction: Callable[[], AbstractContextManager[Session]]


AfterCommit = Callable[[dict[Any, Any]], None]
_after_commit: list[AfterCommit] = []


def after_commit(hook: AfterCommit) -> AfterCommit:
    """Register a hook to call with the session's `info` after each commit, once the connection is released."""
    _after_commit.append(hook)
    return hook


@cache
def engine() -> Engine:
    """Return this process's engine. Connections are tested before use and recycled after half an hour."""
    created = create_engine(
        load_settings().database_url,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # they may contain a buyer's address
        pool_size=5,
        max_overflow=20,
        pool_timeout=5,
        connect_args={
            "connect_timeout": 5,
            "application_name": "keysat",
            "keepalives_idle": 30,
            "tcp_user_timeout": 20_000,
        },
    )
    set_limits(created, _SESSION_OPTIONS)
    return created


def forget_connections() -> None:
    """In a forked child, leave the parent's connections alone. New ones are opened when needed."""
    engine().dispose(close=False)


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a transaction that commits at the end of the block and rolls back when the block raises.

    Raises:
        DatabaseUnavailable: there is no working connection to PostgreSQL, or it broke.
    """
    with translated(), _session(engine()) as session, session.begin():
        yield session
    for hook in _after_commit:
        hook(session.info)


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session for single read statements, each with its own snapshot.

    No transaction is open between or after them.

    Raises:
        DatabaseUnavailable: as `transaction`.
    """
    with _session_with(isolation_level="AUTOCOMMIT") as session:
        yield session


@contextmanager
def snapshot() -> Iterator[Session]:
    """Open a session for read statements that belong together. All see the database as it is at the first one.

    Raises:
        DatabaseUnavailable: as `transaction`.
    """
    with _session_with(isolation_level="REPEATABLE READ", postgresql_readonly=True) as session:
        yield session


@contextmanager
def _session_with(**options: Any) -> Iterator[Session]:
    with (
        translated(),
        engine().connect().execution_options(**options) as connection,
        _session(connection) as session,
    ):
        yield session


DATABASE = Database(reading, transaction)


def _session(bind: Engine | Connection) -> Session:
    # An UPDATE by condition leaves loaded objects as they are: what is read after it is read again.
    return Session(bind, expire_on_commit=False, execution_options={"synchronize_session": False})


@contextmanager
def translated() -> Iterator[None]:
    """Translate database errors in the block into those of `keysat.core.errors`."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseBusy("all connections are in use") from error
    except DBAPIError as error:
        if isinstance(error, IntegrityError):
            raise Conflict(f"the change contradicts what is stored; nothing was changed ({_cause(error)}).") from error
        state = getattr(error.orig, "pgcode", None)
        if state in _MISSING_SCHEMA_STATES:
            raise SchemaMissing(_cause(error)) from error
        if error.connection_invalidated or state is None or state.startswith(_CONNECTION_STATES):
            raise DatabaseUnavailable(database_name(), _cause(error)) from error
        if state in _ROLLED_BACK_STATES:
            raise DatabaseBusy(_cause(error)) from error
        raise


def database_name() -> str:
    """Return the database's host, port and name for messages, without the password."""
    url = make_url(load_settings().database_url)
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}{f':{url.port}' if url.port else ''}/{url.database}"


def _cause(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return lines[0].strip()
