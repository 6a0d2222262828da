"""A failed check leaves nothing behind in the worker."""

import gc
import warnings
import weakref

import pytest

from keysat.core.errors import RemoteResponseInvalid
from keysat.tasks import tasks
from tests.builders import make_invoice


class Megabytes:
    """What a provider sent."""


@pytest.fixture
def no_collector():
    """Only this test's garbage is looked for. What earlier tests of the process left is collected before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_failed_check_frees_its_memory(empty_database, fake, empty_broker, monkeypatch, no_collector):
    held = []

    def read(*_):
        body = Megabytes()
        held.append(weakref.ref(body))
        raise ValueError(body.__doc__)

    def check_invoice(*_, **__):
        try:
            read()
        except ValueError as error:
            raise RemoteResponseInvalid("the provider sent something that isn't JSON.") from error

    monkeypatch.setattr(tasks, "reconcile", check_invoice)
    tasks.reconcile_invoice.apply((str(make_invoice().id),), retries=3)
    assert [reference() for reference in held] == [None]
