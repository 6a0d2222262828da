"""A delivery that this version can't make stops no other one. It is attempted again, and ends as a dead letter."""

from contextlib import suppress

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.secrets import seal, secret_box
from keysat.core.settings import load_settings
from keysat.models import OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.deliver import deliver
from keysat.webhooks.delivery_queue import due_deliveries


def happen(event_type=EventType.LICENSE_ISSUED):
    with transaction() as session:
        emit(session, event_type, {"number": 1})


def send_all(sender):
    """Attempt what is due once, as a worker does, which goes on after a task that fails."""
    with reading() as session:
        due = due_deliveries(session, 100, 1_000)
    for delivery_id in due:
        with suppress(Exception):
            deliver(DATABASE, sender, delivery_id)


def deliveries_to(endpoint):
    wanted = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id).order_by(WebhookDelivery.id)
    with reading() as session:
        return list(session.scalars(wanted))


def check_failed(delivery):
    assert (delivery.attempts, delivery.delivered_at, delivery.leased_until) == (1, None, None)
    assert delivery.last_error
    assert delivery.next_attempt_at is not None


SECRETS = {
    "of another key": lambda _: Fernet(Fernet.generate_key()).encrypt(b'{"secret": "x"}'),
    "broken JSON": lambda box: box.encrypt(b'{"secret": '),
    "of another form": lambda box: box.encrypt(b'["x"]'),
    "without the secret": lambda box: seal(box, {"previous": "x"}),
}


@pytest.mark.parametrize("sealed", SECRETS.values(), ids=SECRETS)
def test_unreadable_secret_stops_no_other_endpoint(sender, receiver, new_endpoint, log_of, sealed):
    bad, _ = new_endpoint(receiver.url, "bad")
    good, _ = new_endpoint(receiver.url, "good")
    with transaction() as session:
        values = {"sealed_secrets": sealed(secret_box(load_settings()))}
        session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == bad.id).values(values))
    happen()
    lines = log_of("keysat.webhooks.deliver")
    send_all(sender)
    (delivered,) = deliveries_to(good)
    assert delivered.delivered_at
    (failed,) = deliveries_to(bad)
    check_failed(failed)
    assert "stored credentials of endpoint bad" in failed.last_error
    assert str(failed.id) in {line["delivery_id"] for line in lines if line["event"] == "delivery failed"}


def test_event_of_another_version_stops_no_other_event(sender, receiver, new_endpoint):
    """A name that fits in no header is never sent. An unknown name and a body that is no JSON are sent as they are."""
    endpoint, _ = new_endpoint(receiver.url)
    changes = [{"event_type": "license\r\nfrozen"}, {"event_type": "license.frozen"}, {"body": "{"}, {}]
    for change in changes:
        happen()
        with transaction() as session:
            last = select(OutboundEvent.id).order_by(OutboundEvent.id.desc()).limit(1).scalar_subquery()
            if change:
                session.execute(update(OutboundEvent).where(OutboundEvent.id == last).values(change))
    send_all(sender)
    failed, *delivered = deliveries_to(endpoint)
    check_failed(failed)
    assert all(delivery.delivered_at for delivery in delivered)
    assert [copy.headers["X-Keysat-Event"] for copy in receiver.copies] == [
        "license.frozen",
        "license.issued",
        "license.issued",
    ]
