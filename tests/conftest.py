"""Every test runs on a real PostgreSQL and a real Valkey, started once for the run, in a scratch directory."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Before anything of Keysat is imported: the whole run has its own data directory, and so its own servers.
SCRATCH = Path(tempfile.mkdtemp(prefix="keysat-tests-"))
for name in [name for name in os.environ if name.startswith("KEYSAT_")] + ["DATABASE_URL", "BROKER_URL"]:
    os.environ.pop(name, None)
os.environ["KEYSAT_DATA_DIR"] = str(SCRATCH / "data")
os.environ["KEYSAT_LOG_LEVEL"] = "WARNING"

from keysat.db import Base, engine, transaction  # noqa: E402
from keysat.embedded.prepare import prepare  # noqa: E402
from keysat.embedded.servers import Postgres, Valkey  # noqa: E402
from keysat.licenses.signer import load_signer  # noqa: E402
from keysat.providers import registry  # noqa: E402
from keysat.providers.fake import Fake, fake_server  # noqa: E402
from keysat.settings import load_settings  # noqa: E402
from keysat.worker import app  # noqa: E402
from tests.builders import FAKE_URL, STORE  # noqa: E402

registry.register(Fake)


@pytest.fixture(scope="session", autouse=True)
def servers():
    """PostgreSQL and Valkey with the schema and the keys in place."""
    settings = load_settings()
    fast = {"fsync": "off", "max_connections": "300", "synchronous_commit": "off"}
    started = [Postgres(settings.data_dir, settings.run_dir, fast), Valkey(settings.data_dir, settings.run_dir)]
    try:
        for server in started:
            server.start()
        prepare(settings, lambda _: None)
        yield settings
    finally:
        engine().dispose()
        app.pool.force_close_all()
        for server in started:
            server.stop()
        shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture
def settings(servers):
    """The settings of the run."""
    return servers


@pytest.fixture
def empty_database(servers):
    """All tables empty."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with transaction() as session:
        session.connection().exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


@pytest.fixture
def empty_broker(servers):
    """No message anywhere; yields a client of the broker."""
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        client.flushall()
        yield client


@pytest.fixture
def fake():
    """The fake provider's server, empty, knowing the test store."""
    server = fake_server(FAKE_URL)
    server.snapshots.clear()
    server.requests, server.trouble = 0, None
    server.api_keys = {STORE: "key-of-test-store"}
    return server


@pytest.fixture
def signer(settings):
    """The run's signing key."""
    return load_signer(settings.signing_key_file)
