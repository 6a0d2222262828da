"""Stories run on a real worker, a real beat where it matters, and a sandbox provider over real HTTP."""

import pytest

from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.tasks.app import app
from tests.builders import STORE, make_account, make_catalog
from tests.nodes import ProcessContainer, worker_command
from tests.stories.cluster import Broker, BrokerContainer, Worker


@pytest.fixture
def celery_broker(settings, empty_broker):
    yield (node := Broker(BrokerContainer(settings.broker_url, empty_broker)))
    node.teardown()


@pytest.fixture
def celery_backend_cluster():
    """Keysat stores no results."""
    return


@pytest.fixture
def celery_setup_app():
    """The tests send with Keysat's own app."""
    return app


@pytest.fixture
def worker_arguments():
    """The worker's command, which stories override."""
    return worker_command(concurrency=2)


@pytest.fixture
def worker_environment():
    """The worker's own settings, which stories override."""
    return {}


@pytest.fixture(scope="package")
def worker_processes():
    """The workers that run already, by how they were started: stories that want the same one share it."""
    running = {}
    yield running
    for container in running.values():
        container.teardown()


@pytest.fixture
def celery_worker(worker_arguments, worker_environment, worker_processes, celery_broker, empty_database):
    wanted = (*worker_arguments, *worker_environment.items())
    for name in set(worker_processes) - {wanted}:
        worker_processes.pop(name).teardown()  # two workers would share the messages of a story
    container = worker_processes.get(wanted)
    if container is None or container.status != "running":
        container = worker_processes[wanted] = ProcessContainer(worker_arguments, " ready.", worker_environment)
        container.ready()
    else:
        container.forget_logs()
    return Worker(container, app)


@pytest.fixture
def sandbox(empty_database):
    """The provider: a client of its control side, with one store, whose webhooks are all lost."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.url = server.url
        client.register_store(STORE, "key-of-test-store", f"{server.url}/nobody", "webhook-secret-of-the-test-store")
        client.set_webhooks(drop=1.0)
        yield client


@pytest.fixture
def shop(sandbox):
    """One product, sold through one account at the sandbox."""
    make_account(kind="btcpay", base_url=sandbox.url)
    make_catalog()
    return sandbox
