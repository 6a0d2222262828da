import pytest

from keysat.sandbox.server import Sandbox
from tests.providers.servers import recording


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox for all tests of a module; each test takes a store of its own."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def recorder():
    """A server that keeps the requests it gets and answers what it is told to."""
    with recording() as recorder:
        yield recorder
