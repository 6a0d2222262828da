"""A real PostgreSQL and a real Valkey in a scratch directory, started once, by the first test that uses them."""

import gc
import logging
import shutil
import threading

import pytest
import structlog
from structlog.testing import LogCapture

from tests.environment import SCRATCH, running_servers  # isort: skip - it sets the environment of the following imports

from keysat.core import notices
from keysat.core.db import Base, transaction
from keysat.core.errors import Conflict, DatabaseBusy
from keysat.core.settings import load_settings
from keysat.licenses.signer import load_signer
from keysat.providers import registry
from keysat.providers.fake import Fake, fake_server
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.tasks.app import app
from tests import tiers
from tests.builders import FAKE_URL, STORE, make_account, make_catalog, make_shop
from tests.canaries import GIVEN, kept_in_files, leaks_in_logs
from tests.nodes import wait_until

registry.register(Fake)
MANY_ROWS = 500
gc.disable()  # until all tests are collected: nothing of what is imported and collected is garbage


def pytest_ignore_collect(collection_path, config):
    return tiers.needs_no_import(collection_path, config) or None


def pytest_collection_modifyitems(items):
    tiers.mark(items)
    tiers.longest_first(items)


def pytest_collection_finish():
    gc.freeze()  # tests don't look through the thousands of collected ones for garbage again and again
    gc.enable()


def pytest_unconfigure():
    shutil.rmtree(SCRATCH, ignore_errors=True)  # it is still there if no server was started


@pytest.fixture(autouse=True)
def _tier(request):
    """A test that isn't marked as one that uses the servers fails when it does."""
    if request.node.get_closest_marker("servers"):
        yield
    else:
        with tiers.without_servers():
            yield


@pytest.fixture(autouse=True)
def _logging_as_before():
    """A command that runs within a test leaves no handler behind that writes to that test's captured output."""
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structured)


@pytest.fixture(autouse=True)
def _settings_as_before():
    """A test that changes the environment leaves no settings behind that were read from it."""
    before = _read_settings()
    yield
    if _read_settings() is not before:
        load_settings.cache_clear()


def _read_settings():
    return load_settings() if load_settings.cache_info().currsize else None


@pytest.fixture(scope="session")
def servers():
    """PostgreSQL and Valkey with the schema and the keys in place."""
    with running_servers() as running:
        yield running.settings
        assert leaks_in_logs(SCRATCH, {**GIVEN, **kept_in_files(running.settings)}) == {}


@pytest.fixture
def settings(servers):
    """The settings of the run."""
    return servers


@pytest.fixture(scope="module")
def web_url(servers):
    """The URL of Keysat's web server for one file of tests."""
    from tests.serving import serving_with  # what it imports takes a second, which few files need

    with serving_with() as url:
        yield url


@pytest.fixture
def empty_database(servers):
    """All tables empty. They hold little, so that deleting it takes a tenth of what TRUNCATE takes for new files."""
    wait_until(_emptied)


def _emptied():
    """Whether it went through: a worker of the test before may be at the end of its work still."""
    try:
        with transaction() as session:
            tables = [table.name for table in Base.metadata.sorted_tables]
            deleting = ", ".join(f"of_{name} AS (DELETE FROM {name} RETURNING 1)" for name in tables)
            counts = " + ".join(f"(SELECT count(*) FROM of_{name})" for name in tables)
            connection = session.connection()
            deleted = connection.exec_driver_sql(f"WITH {deleting} SELECT {counts}").scalar_one()
            if deleted > MANY_ROWS:  # which would stay in the way of the next tests' scans until they are vacuumed
                connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} CASCADE")
    except (Conflict, DatabaseBusy):
        return False
    return True


@pytest.fixture
def empty_broker(servers):
    """Empties the broker. Yields its client."""
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        client.flushall()
        yield client


@pytest.fixture
def nothing_noticed(servers):
    """Removes the notices of earlier tests."""
    for thread in threading.enumerate():
        if thread.name == "notice":
            thread.join()
    with app.connection_for_write() as connection:
        connection.default_channel.client.delete(notices._KEY)


@pytest.fixture
def fake():
    """The fake provider's server, empty, knowing the test store."""
    server = fake_server(FAKE_URL)
    server.snapshots.clear()
    server.wanted.clear()
    server.requests, server.trouble = 0, None
    server.rejected_invoices = set()
    server.api_keys = {STORE: "key-of-test-store"}
    return server


@pytest.fixture
def shop(empty_database):
    """One product, sold through one account at a sandbox. Returns the client of the sandbox's controls."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.register_store(STORE, "key-of-test-store")
        make_account(kind="btcpay", base_url=server.url)
        make_catalog()
        client.url = server.url
        yield client


@pytest.fixture
def fake_shop(empty_database, fake):
    """One product, sold through the fake provider. Returns the provider's server."""
    make_shop()
    return fake


@pytest.fixture
def signer(settings):
    """The run's signing key."""
    return load_signer(settings.signing_key_file)


@pytest.fixture
def log_of(monkeypatch):
    """Captures the log of a module by its dotted name. Returns the list of its lines, DEBUG ones included."""

    def capture(module):
        captured = LogCapture()
        every_level = structlog.make_filtering_bound_logger(0)
        monkeypatch.setattr(f"{module}.log", structlog.wrap_logger(None, [captured], wrapper_class=every_level))
        return captured.entries

    return capture
