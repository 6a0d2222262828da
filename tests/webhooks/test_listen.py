"""A listener takes the deliveries of its own endpoint, and leaves nothing behind."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import NotFound
from keysat.core.secrets import secret_box
from keysat.models import WebhookDelivery, WebhookEndpoint
from keysat.operations.retention import prune
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.delivery_queue import due_deliveries
from keysat.webhooks.endpoints import pause_endpoint, remove_endpoint
from keysat.webhooks.listen import ABANDONED_AFTER, open_listener, take_deliveries

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def start(settings):
    """Opens a listener. Returns its name."""

    def start(*event_types):
        with transaction() as session:
            return open_listener(session, secret_box(settings), event_types, "", "cli")[0].name

    return start


def happen(event_type=EventType.LICENSE_ISSUED):
    with transaction() as session:
        emit(session, event_type, {"number": 1})


def take(name):
    with transaction() as session:
        return [delivery.event_type for delivery in take_deliveries(session, name)]


def names():
    with reading() as session:
        return session.scalars(select(WebhookEndpoint.name)).all()


def test_listener_takes_each_event_once_and_in_order(start):
    happen()  # before it listened
    name = start()
    happen(EventType.INVOICE_SETTLED)
    happen()
    assert take(name) == ["invoice.settled", "license.issued"]
    assert take(name) == []


def test_listener_takes_the_events_it_wants(start):
    name = start("license.issued")
    happen(EventType.INVOICE_SETTLED)
    happen()
    assert take(name) == ["license.issued"]


def test_senders_leave_its_deliveries_alone_and_it_leaves_theirs(start, new_endpoint):
    new_endpoint("https://shop.example.com/hooks")
    first, second = start(), start()
    happen()
    with reading() as session:
        (theirs,) = due_deliveries(session, 10, 10)
        shop = session.scalar(select(WebhookEndpoint.id).where(WebhookEndpoint.name == "shop"))
        assert session.get_one(WebhookDelivery, theirs).endpoint_id == shop
    assert take(first) == take(second) == ["license.issued"]


def test_listener_of_a_killed_command_is_removed(start, new_endpoint):
    new_endpoint("https://shop.example.com/hooks", name="listen-to-me")
    killed, alive = start(), start()
    with transaction() as session:
        pause_endpoint(session, "listen-to-me", "cli")
        old = func.now() - ABANDONED_AFTER - timedelta(seconds=1)
        session.execute(update(WebhookEndpoint).where(WebhookEndpoint.name != alive).values(paused_at=old))
    prune(DATABASE, 90)
    assert set(names()) == {"listen-to-me", alive}
    with pytest.raises(NotFound, match=f"no listener {killed}"):
        take(killed)


def test_listener_is_gone_once_it_is_removed(start):
    name = start()
    happen()
    with transaction() as session:
        remove_endpoint(session, name, "cli")
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 0
