import pytest

from keysat.sandbox.server import Sandbox
from tests.providers.servers import recording


@pytest.fixture(scope="module")
def sandbox_server():
    """A sandbox for all tests of a module. Each test uses its own store."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def recorder():
    """A server that records its requests and sends the given response."""
    with recording() as recorder:
        yield recorder
