"""Nothing is bound to one connection of the server, as PgBouncer's transaction mode gives each transaction another."""

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from sqlalchemy import func, select, text

from keysat.core.db import engine, transaction
from keysat.core.poolers import behind_pooler
from keysat.embedded.account import unprivileged
from keysat.embedded.commands import child_environment
from keysat.embedded.process import Process
from keysat.licenses.signer import load_signer
from keysat.sales.grant import grant
from tests.builders import make_catalog
from tests.environment import SCRATCH
from tests.nodes import ProcessContainer, wait_until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
REQUESTS = 100

pytestmark = [
    pytest.mark.usefixtures("empty_database", "empty_broker"),
    pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer isn't installed here: `apt-get install pgbouncer`"),
]


@pytest.fixture(params=["refuses options", "ignores options"])
def pooled_url(settings, request):
    """The run's database through PgBouncer in transaction mode, with few connections."""
    folder = SCRATCH / f"pgbouncer-{request.param.split()[0]}"
    folder.mkdir(exist_ok=True)
    more = "ignore_startup_parameters = options\n" if request.param == "ignores options" else ""
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\nkeysat = host={settings.run_dir} port=5432 user=keysat dbname=keysat\n[pgbouncer]\n"
        f"listen_addr =\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = 4\n{more}"
    )
    account = unprivileged()
    account.own(folder)
    process = Process(
        "pgbouncer", [PGBOUNCER, str(folder / "pgbouncer.ini")], folder / "log", dict(os.environ), account
    )
    process.start()
    wait_until(lambda: (folder / ".s.PGSQL.6432").exists() or not process.alive)
    assert process.alive, (folder / "log").read_text()
    yield f"postgresql://keysat@/keysat?host={folder}&port=6432"
    process.kill()
    shutil.rmtree(folder)


@pytest.fixture
def own_web_url(settings, pooled_url):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"DATABASE_URL": pooled_url, "KEYSAT_WEB_PORT": str(port)}
    process = ProcessContainer(
        [sys.executable, "-m", "keysat", "web"], "Keysat listens at", {**child_environment(settings), **own}
    )
    try:
        assert process.ready()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.teardown()


def test_validations_through_a_pooler_in_transaction_mode(settings, own_web_url):
    make_catalog()
    signer = load_signer(settings.signing_key_file)
    with transaction() as session:
        keys = [signer.key_for(grant(session, "editor", None, "test", signer.key_id, "test")) for _ in range(10)]

    def ask(number):
        question = {"key": keys[number % 10], "product_slug": "editor", "fingerprint": f"machine {number % 10}"}
        return requests.post(f"{own_web_url}/v1/validate", json=question, timeout=120)

    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(ask, range(REQUESTS)))
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert {answer.json().get("reason") for answer in answers} == {None}
    assert requests.get(f"{own_web_url}/readyz", timeout=120).status_code == 200


LIMITS = """
from sqlalchemy import text
from keysat.core.db import engine, reading, transaction
from keysat.core.poolers import behind_pooler
names = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone"
for _ in range(3):
    with transaction() as session:
        assert behind_pooler(session.connection())
        print(*(session.scalar(text(f"SELECT current_setting('{name}')")) for name in names))
    with reading() as session:
        print(session.scalar(text("SELECT current_setting('timezone')")))
"""


def run(settings, pooled_url, *command):
    environment = {**child_environment(settings), "DATABASE_URL": pooled_url}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def test_limits_hold_in_each_transaction_through_a_pooler(settings, pooled_url):
    said = run(settings, pooled_url, "-c", LIMITS)
    assert said.stdout.splitlines() == ["30s 10s 30s UTC", "UTC"] * 3, said.stderr


def test_migrations_and_the_command_line_work_through_a_pooler(settings, pooled_url):
    for command in (["db", "upgrade"], ["db", "check"], ["status"]):
        said = run(settings, pooled_url, "-m", "keysat", *command)
        assert said.returncode == 0, said.stderr


def test_connection_to_the_server_itself_is_no_poolers():
    with engine().connect() as connection:
        assert not behind_pooler(connection)
        assert connection.scalar(select(func.current_setting("statement_timeout"))) == "30s"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
