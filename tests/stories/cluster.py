"""pytest-celery's nodes over the run's Valkey and plain processes."""

from pytest_celery import CeleryTestWorker, RedisTestBroker


class BrokerContainer:
    """The run's Valkey, as pytest-celery wants to know it."""

    id, name, status = "valkey", "valkey", "running"

    def __init__(self, url, client):
        self.celeryconfig = {"url": url, "host_url": url}
        self.client = client

    def ready(self):
        return self.client.ping()

    def logs(self):
        return ""

    def reload(self):
        """Nothing to read."""

    def teardown(self):
        self.client.flushall()


class Broker(RedisTestBroker):
    """The broker node."""


class Worker(CeleryTestWorker):
    """A worker node."""
