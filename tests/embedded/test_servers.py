import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from keysat.core.settings import Settings
from keysat.embedded.account import nobody, unprivileged
from keysat.embedded.errors import FolderUnusable, NobodyShutOut, ProgramFailed
from keysat.embedded.folders import make_run_dir
from keysat.embedded.process import Process
from keysat.embedded.servers import Postgres, Valkey

pytestmark = pytest.mark.servers

FAST = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module")
def template():
    """A data directory with a cluster that is created once, because initdb takes most of a first start."""
    base = Path(tempfile.mkdtemp())
    server = Postgres(base / "data", base / "run", FAST)
    server.start()
    server.stop()
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
def postgres(template, tmp_path):
    shutil.copytree(template, tmp_path / "data")
    server = Postgres(tmp_path / "data", tmp_path / "run", FAST)
    yield server
    server.stop()


@pytest.fixture
def valkey(tmp_path):
    server = Valkey(tmp_path / "data", tmp_path / "run")
    yield server
    server.stop()


def query(run_dir, statement, fetch=True):
    with closing(psycopg2.connect(host=str(run_dir), user="keysat", dbname="keysat")) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if fetch else None


def command(run_dir, line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(run_dir / "valkey.sock"))
        connection.sendall(line + b"\r\n")
        return connection.recv(1000)


def modes(path):
    return [(folder, folder.stat().st_mode, folder.stat().st_uid) for folder in path.parents]


def test_postgres_first_start(tmp_path):
    """It creates a cluster with the database, and changes no parent folder."""
    before = modes(tmp_path / "data")
    server = Postgres(tmp_path / "data", tmp_path / "run", FAST)
    server.start()
    try:
        assert query(tmp_path / "run", "SHOW server_encoding") == [("UTF8",)]
        assert query(tmp_path / "run", "SHOW fsync") == [("off",)]
        assert query(tmp_path / "run", "SELECT current_database(), current_user") == [("keysat", "keysat")]
        assert query(tmp_path / "run", "SHOW listen_addresses") == [("",)]
        assert os.getpgid(server.pid) == server.pid
    finally:
        server.stop()
    assert not server.alive
    assert modes(tmp_path / "data") == before
    assert not list((tmp_path / "data").glob("postgres.new-*"))
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_postgres_killed_while_busy(postgres, tmp_path):
    """It restarts with its data."""
    run_dir = tmp_path / "run"
    postgres.start()
    query(run_dir, "CREATE TABLE kept AS SELECT 42 AS answer", fetch=False)
    query(run_dir, "CHECKPOINT", fetch=False)
    with closing(psycopg2.connect(host=str(run_dir), user="keysat", dbname="keysat")):
        postgres.kill()
        assert not postgres.alive
        postgres.start()
    assert query(run_dir, "SELECT answer FROM kept") == [(42,)]


def test_postgres_stale_lock_file(postgres, tmp_path):
    """PostgreSQL starts although another process has the PID in its lock file."""
    postgres.start()
    postgres.kill()
    lock = tmp_path / "data" / "postgres" / "postmaster.pid"
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for path in (lock, tmp_path / "run" / ".s.PGSQL.5432.lock"):
            rest = path.read_text().split("\n", 1)[1]
            path.write_text(f"{stranger.pid}\n{rest}")
        postgres.start()
    finally:
        stranger.kill()
        stranger.wait()
    assert query(tmp_path / "run", "SELECT 1") == [(1,)]


def test_postgres_stops_although_a_client_stays_connected(postgres, tmp_path):
    postgres.start()
    with closing(psycopg2.connect(host=str(tmp_path / "run"), user="keysat", dbname="keysat")):
        postgres.stop()
    assert postgres.status == 0


def test_postgres_second_start(postgres, tmp_path):
    """A second server on the same data fails with one sentence."""
    postgres.start()
    second = Postgres(tmp_path / "data", tmp_path / "run", FAST)
    with pytest.raises(ProgramFailed, match=r"PostgreSQL didn't start: .*already exists.*log is .*\.log\.$") as caught:
        second.start()
    assert "\n" not in str(caught.value)
    assert postgres.alive
    assert query(tmp_path / "run", "SELECT 1") == [(1,)]


def test_a_server_that_ends_early_says_why_and_where_its_log_is(template, tmp_path):
    shutil.copytree(template, tmp_path / "data")
    server = Postgres(tmp_path / "data", tmp_path / "run", {"shared_buffers": "none"})
    with pytest.raises(ProgramFailed, match=r"invalid value for parameter \"shared_buffers\""):
        server.start()
    assert not server.alive


def test_a_path_with_a_comma_is_refused_at_once(tmp_path):
    with pytest.raises(FolderUnusable, match="split a path at its commas"):
        Postgres(tmp_path, tmp_path / "a,b").start()


def test_valkey_killed(valkey, tmp_path):
    """It restarts with its data, in spite of the stale socket."""
    run_dir = tmp_path / "run"
    valkey.start()
    assert stat.S_IMODE((run_dir / "valkey.sock").stat().st_mode) == 0o700
    assert command(run_dir, b"SET kept 42") == b"+OK\r\n"
    valkey.kill()
    assert (run_dir / "valkey.sock").exists()
    valkey.start()
    assert command(run_dir, b"GET kept") == b"$2\r\n42\r\n"
    valkey.stop()
    assert valkey.status == 0


def test_a_second_valkey_leaves_the_first_ones_socket_alone(valkey, tmp_path):
    valkey.start()
    with pytest.raises(ProgramFailed, match="keysat down"):
        Valkey(tmp_path / "data", tmp_path / "run").start()
    assert command(tmp_path / "run", b"PING") == b"+PONG\r\n"


def test_a_deep_and_odd_data_directory_has_its_sockets_in_tmp(template, tmp_path):
    data_dir = tmp_path / ("deep folder " * 10) / "it's data"
    data_dir.parent.mkdir()
    shutil.copytree(template, data_dir)
    run_dir = Settings(data_dir=data_dir).run_dir
    assert run_dir.parent == Path("/tmp")
    servers = [Postgres(data_dir, run_dir, FAST), Valkey(data_dir, run_dir)]
    try:
        for server in servers:
            server.start()
        assert query(run_dir, "SELECT 1") == [(1,)]
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(run_dir)


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderUnusable, match="it is a link"):
        make_run_dir(tmp_path / "run")


@as_root
def test_a_socket_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trap").touch()
    os.chown(tmp_path / "run", 4242, 4242)
    with pytest.raises(FolderUnusable, match="belongs to the user id 4242"):
        make_run_dir(tmp_path / "run")


def test_a_socket_folder_that_others_could_enter_is_closed(tmp_path):
    (tmp_path / "run").mkdir(mode=0o755)
    make_run_dir(tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnusable, match="set KEYSAT_DATA_DIR"):
        Valkey(tmp_path / "file", tmp_path / "run").start()


@as_root
def test_root_without_namespaces_gets_an_explanation(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    server = Postgres(tmp_path / "closed" / "data", tmp_path / "run", FAST, account=nobody())
    with pytest.raises(NobodyShutOut, match="chmod o\\+x"):
        server.start()


@as_root
def test_the_data_of_root_and_of_nobody_are_each_others(template):
    """A machine that forbids user namespaces one day has the cluster of the day before."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    shutil.copytree(template, base / "data")
    (base / "data").chmod(0o711)
    try:
        for account in (nobody(), unprivileged()):
            server = Postgres(base / "data", base / "run", FAST, account=account)
            try:
                server.start()
                assert query(base / "run", "SELECT 1") == [(1,)]
            finally:
                server.stop()
    finally:
        shutil.rmtree(base)


ORDINARY = """
import encodings.idna, os, sys
from pathlib import Path
import psycopg2
from keysat.embedded.servers import Postgres, Valkey
base = Path(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
servers = [Postgres(base / "data", base / "run", {"fsync": "off"}), Valkey(base / "data", base / "run")]
for server in servers:
    server.start()
print([Path(f"/proc/{server.pid}").stat().st_uid for server in servers])
for server in servers:
    server.stop()
print([server.status for server in servers])
"""


@as_root
def test_an_ordinary_user_runs_both_as_itself():
    base = Path(tempfile.mkdtemp())
    os.chown(base, 65534, 65534)
    try:
        done = subprocess.run([sys.executable, "-c", ORDINARY, base], capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(base)
    if "Permission denied" in done.stderr:
        pytest.skip("the binaries are out of an ordinary user's reach here")
    assert done.stdout.splitlines() == ["[65534, 65534]", "[0, 0]"], done.stderr


def test_stop_kills_what_ignores_its_signals(tmp_path):
    """The last step of every stop, at once here, as after a second Ctrl-C."""
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); open('up','w'); time.sleep(60)"
    process = Process(
        "stubborn",
        [sys.executable, "-c", code.replace("'up'", repr(str(tmp_path / "up")))],
        tmp_path / "log",
        dict(os.environ),
    )
    process.start()
    while not (tmp_path / "up").exists():
        assert process.alive
    hurry, said = threading.Event(), []
    hurry.set()
    process.stop(hurry, said.append)
    assert process.status == -9
    assert said == [f"stubborn (pid {process.pid}) didn't end on SIGTERM; it is ended by force."]


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ProgramFailed, match=r"ghost didn't start: /no/such/program \(No such file"):
        Process("ghost", ["/no/such/program"], tmp_path / "log", {}).start()
