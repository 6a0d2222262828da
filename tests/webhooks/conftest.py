import pytest

from keysat.core.db import transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.webhooks.deliver import Sender
from keysat.webhooks.endpoints import add_endpoint
from tests.webhooks.receiver import Receiver


@pytest.fixture
def receiver():
    """A receiver that takes everything."""
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def sender(settings, signer):
    """A sender that may reach this machine."""
    return Sender.of(settings.model_copy(update={"webhook_allowed_networks": "127.0.0.0/8"}), signer.key_for)


@pytest.fixture
def new_endpoint(empty_database):
    """Adds endpoints. Returns the row and its secret."""

    def add(url, name="shop", event_types=(), secret="", with_key=False):
        with transaction() as session:
            return add_endpoint(
                session,
                secret_box(load_settings()),
                name,
                url,
                event_types,
                secret=secret,
                with_key=with_key,
                allow_http=True,
                actor="cli",
            )

    return add
