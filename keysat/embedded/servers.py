"""A real PostgreSQL and a real Valkey in the data directory, for development, the demo and the tests.

Both listen on unix sockets in a folder of mode 0700, which is their only protection.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import psycopg2

from keysat.embedded.account import Account, unprivileged
from keysat.embedded.binaries import postgres_binaries, server_environment, valkey_binary
from keysat.embedded.errors import FolderUnusable, ProgramFailed
from keysat.embedded.folders import make_private, make_run_dir
from keysat.embedded.identity import is_another_program
from keysat.embedded.process import POLL_SECONDS, Process

START_SECONDS = 30.0
_PORT = "5432"


class Server(Process, ABC):
    """A process whose `start` returns only when it responds."""

    title: ClassVar[str]

    def start(self) -> None:
        """Start the server, unless it is running, and wait until it responds.

        Raises:
            ProgramFailed: the server ended, or didn't respond within 30 s.
            FolderUnusable: a folder can't be created, or the sockets' folder isn't safe.
            NobodyShutOut: root without user namespaces, and nobody can't access the data.
        """
        if self.alive:
            return
        self.prepare()
        super().start()
        try:
            self._await_response(time.monotonic() + START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _await_response(self, deadline: float) -> None:
        while not self.answers():
            if not self.alive:
                raise self.failure(self.last_words() or f"it ended with status {self.status}")
            if time.monotonic() > deadline:
                raise self.failure(f"it didn't respond within {START_SECONDS:g} s ({self.last_words()})")
            time.sleep(POLL_SECONDS)

    def failure(self, cause: str) -> ProgramFailed:
        """Return the error with the reason why this server didn't start."""
        return ProgramFailed(self.title, cause, self.log)

    @abstractmethod
    def prepare(self) -> None:
        """Create what the server needs before it starts."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server serves clients now."""


class Postgres(Server):
    """PostgreSQL with its data in `data_dir`/postgres and its socket in `run_dir`. User and database are `keysat`."""

    title = "PostgreSQL"

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path,
        options: Mapping[str, str] | None = None,
        account: Account | None = None,
    ) -> None:
        """`options` are additional server settings, such as fsync=off. `account` runs the server.

        Raises:
            EmbeddedServersMissing: keysat[embedded] isn't installed.
        """
        self._data_dir, self._run_dir, self._cluster = data_dir, run_dir, data_dir / "postgres"
        self._options = {"unix_socket_permissions": "0700", **(options or {})}
        self._binaries = postgres_binaries()
        command = [str(self._binaries / "postgres"), "-D", str(self._cluster), "-k", str(run_dir), "-h", ""]
        command += ["-p", _PORT, *(f"--{key}={value}" for key, value in self._options.items())]
        log = data_dir / "log" / "postgres.log"
        super().__init__("postgres", command, log, server_environment(), account or unprivileged())

    def start(self) -> None:
        """Start as `Server.start` does, and retry while sessions of a server that was just killed remain."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return super().start()
            except ProgramFailed as error:
                if "still in use" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_SECONDS)

    def prepare(self) -> None:
        """Create the folders and, the first time, the cluster. Remove a dead server's lock files."""
        if "," in str(self._run_dir):
            cause = "PostgreSQL's clients split a path at its commas"
            raise FolderUnusable(self._run_dir, cause, "set KEYSAT_DATA_DIR to a folder without one")
        make_private(self._data_dir)
        make_run_dir(self._run_dir, also=self.account.uid)
        self.account.own(self._run_dir)
        self.account.check_reach([self._binaries / "postgres", self._data_dir])
        if not self._cluster.exists():
            self._make_cluster()
        self.account.own(self._cluster)
        self._drop_strangers_locks()

    def _make_cluster(self) -> None:
        """Initialize under another name, so that an initdb that is killed leaves no incomplete cluster."""
        for leftover in self._data_dir.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._data_dir))
        self.account.own(fresh)
        command = [str(self._binaries / "initdb"), "-D", str(fresh), "-U", "keysat", "--auth=trust"]
        command += ["-E", "UTF8", "--no-locale"]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        initdb = Process("initdb", command, self.log, server_environment(), self.account)
        initdb.start()
        try:
            status = initdb.wait()
        finally:
            initdb.stop()
        if status != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise self.failure(initdb.last_words())
        fresh.rename(self._cluster)

    def _drop_strangers_locks(self) -> None:
        """Remove lock files whose process id now belongs to another program, because PostgreSQL would give way to it.

        This is common in containers, which reuse the same few ids at each start.
        """
        for lock in (self._cluster / "postmaster.pid", self._run_dir / f".s.PGSQL.{_PORT}.lock"):
            pid = _lock_holder(lock)
            if pid is not None and is_another_program(pid, str(self._cluster)):
                lock.unlink()

    def answers(self) -> bool:
        """Return whether a session can be opened. Creates the database `keysat` if it is missing."""
        if _lock_holder(self._cluster / "postmaster.pid") != self.pid:
            return False  # another server may run on this data, and ours will give way to it
        try:
            session = psycopg2.connect(
                host=str(self._run_dir), port=_PORT, user="keysat", dbname="postgres", connect_timeout=5
            )
        except psycopg2.OperationalError:
            return False
        with closing(session):
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'keysat'")
                if cursor.fetchone() is None:
                    cursor.execute("CREATE DATABASE keysat")
        return True


def _lock_holder(lock: Path) -> int | None:
    try:
        return int(lock.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


class Valkey(Server):
    """Valkey with its append-only file in `data_dir`/valkey and its socket at `run_dir`/valkey.sock."""

    title = "Valkey"

    def __init__(self, data_dir: Path, run_dir: Path) -> None:
        """Raises EmbeddedServersMissing if keysat[embedded] isn't installed."""
        self._data_dir, self._run_dir, self._socket = data_dir, run_dir, run_dir / "valkey.sock"
        command = [str(valkey_binary()), "--port", "0", "--unixsocket", str(self._socket)]
        command += [
            "--unixsocketperm",
            "700",
            "--dir",
            str(data_dir / "valkey"),
            "--appendonly",
            "yes",
            "--save",
            "",
        ]
        super().__init__("valkey", command, data_dir / "log" / "valkey.log", server_environment())

    def prepare(self) -> None:
        """Create the folders and remove the socket of a killed server."""
        make_private(self._data_dir)
        make_private(self._data_dir / "valkey")
        make_run_dir(self._run_dir, also=unprivileged().uid)
        if self.answers():
            raise self.failure(f"another one responds at {self._socket} already; `keysat down` stops it")
        self._socket.unlink(missing_ok=True)

    def answers(self) -> bool:
        """Return whether the server responds to a PING, that is, listens and has loaded its data."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False
