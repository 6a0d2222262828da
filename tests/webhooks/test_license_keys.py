"""Endpoints that ask for it get the license's key with `license.issued`, over TLS, and nothing stores it."""

import pytest
from sqlalchemy import func, select, text, update

from keysat.core.db import DATABASE, engine, reading, transaction
from keysat.core.errors import Conflict, InvalidInput
from keysat.licenses.edit import transfer_license
from keysat.licenses.keys import verify
from keysat.licenses.withdraw import change_status
from keysat.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint
from keysat.models.license import LicenseStatus
from keysat.queue.outbox import EventType
from keysat.webhooks.deliver import Sender, deliver, send_test
from keysat.webhooks.deliveries import Filter
from keysat.webhooks.endpoints import change_endpoint
from keysat.webhooks.replay import replay
from tests.authority import Authority
from tests.builders import issue_now, load_licenses, make_invoice
from tests.canaries import leaks
from tests.webhooks.receiver import Receiver, verified

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
URL = "https://shop.example.com/hooks"


@pytest.fixture
def secure(settings, signer, tmp_path):
    """A receiver over TLS that repeats what it gets, and a sender that trusts it."""
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    own = {"webhook_allowed_networks": "127.0.0.0/8", "ca_file": tmp_path / "ca.pem"}
    receiver = Receiver(lambda copy: (200, {}, copy.body), authority.server_context(tmp_path))
    yield receiver, Sender.of(settings.model_copy(update=own), signer.key_for)
    receiver.close()


def sell(signer):
    """Sell a license. Returns its row."""
    invoice = make_invoice(status="settled", settled_at=func.now(), paid_amount=21_000)
    issue_now(invoice.id, signer.key_id)
    return load_licenses(invoice.id)[0]


def send_all(sender):
    with reading() as session:
        pending = session.scalars(select(WebhookDelivery.id).where(WebhookDelivery.pending)).all()
    for delivery_id in pending:
        deliver(DATABASE, sender, delivery_id)


def whole_database():
    with engine().connect() as connection:
        names = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        rows = [connection.execute(text(f'SELECT t::text FROM "{name}" t')).scalars().all() for name in names]
    return "\n".join(line for lines in rows for line in lines)


def replay_all():
    with transaction() as session:
        replay(session, Filter(), 0, "cli")


def test_key_is_in_what_is_sent_and_in_nothing_that_is_stored(secure, signer, new_endpoint):
    receiver, sender = secure
    _, secret = new_endpoint(receiver.url, event_types=["license.issued"], with_key=True)
    row = sell(signer)
    send_all(sender)
    replay_all()
    send_all(sender)
    events = [verified(copy, secret) for copy in receiver.copies]
    assert [event["data"]["license_key"] for event in events] == [signer.key_for(row)] * 2
    assert verify(events[0]["data"]["license_key"], signer.public_key).license_id == row.id
    assert receiver.copies[0].body == receiver.copies[1].body
    with reading() as session:
        answers = session.scalars(select(DeliveryAttempt.answer)).all()
    assert set(answers) == {"(not kept, as it may repeat the license key)"}, "in any way that it may be escaped"
    assert leaks(whole_database(), {}) == set()


def test_other_endpoints_and_events_have_no_key(secure, signer, new_endpoint):
    receiver, sender = secure
    new_endpoint(receiver.url, name="plain")
    new_endpoint(receiver.url, name="suspended", event_types=["license.suspended"], with_key=True)
    row = sell(signer)
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.SUSPENDED, "cli", "because")
    send_all(sender)
    assert b"license.issued" in b"".join(copy.body for copy in receiver.copies)
    assert b"license.suspended" in b"".join(copy.body for copy in receiver.copies)
    assert not any(b"LIC1-" in copy.body or b"license_key" in copy.body for copy in receiver.copies)


@pytest.mark.parametrize("change", ["revoke", "transfer"])
def test_replay_has_no_key_of_a_license_that_is_withdrawn_or_another_holders(secure, signer, new_endpoint, change):
    receiver, sender = secure
    _, secret = new_endpoint(receiver.url, event_types=["license.issued"], with_key=True)
    row = sell(signer)
    with transaction() as session:
        if change == "revoke":
            change_status(session, row.id, LicenseStatus.REVOKED, "cli", "because")
        else:
            transfer_license(session, row.id, "new@example.com", "cli", "sold")
    send_all(sender)
    (copy,) = receiver.copies
    assert verified(copy, secret)["data"]["license_key"] is None


def test_sample_has_a_made_up_key(secure, new_endpoint):
    receiver, sender = secure
    endpoint, secret = new_endpoint(receiver.url, with_key=True)
    assert send_test(sender, endpoint, EventType.LICENSE_ISSUED).delivered
    assert verified(receiver.copies[0], secret)["data"]["license_key"] == "LIC1-SAMPLE-SAMPLE"


def test_endpoint_without_tls_never_gets_keys(new_endpoint):
    with pytest.raises(InvalidInput, match="license keys are sent to https:// only"):
        new_endpoint("http://127.0.0.1/hooks", with_key=True)
    new_endpoint(URL, with_key=True)
    for changes in ({"url": "http://127.0.0.1/hooks"}, {"url": "http://127.0.0.1/hooks", "with_key": True}):
        with pytest.raises(InvalidInput, match="license keys are sent to https:// only"), transaction() as session:
            change_endpoint(session, "shop", **changes, allow_http=True, actor="cli")
    with pytest.raises(Conflict, match="contradicts what is stored"), transaction() as session:
        session.execute(update(WebhookEndpoint).values(url="http://127.0.0.1/hooks"))
    with transaction() as session:
        http = {"url": "http://127.0.0.1/hooks", "with_key": False}
        assert not change_endpoint(session, "shop", **http, allow_http=True, actor="cli").with_key
