"""What is finished and old is deleted, but never pending work or the audit log."""

from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, select, update

from keysat.accounts.inbox import store
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import (
    AuditLine,
    DeliveryAttempt,
    Invoice,
    InvoiceCheck,
    Mail,
    OutboundEvent,
    ProviderEvent,
    Sweep,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.columns import seconds
from keysat.operations.retention import count_prunable, prune
from keysat.providers.base import ReceivedEvent
from keysat.queue.outbox import EventType, emit
from keysat.tasks.tasks import prune_
from keysat.webhooks.endpoints import add_endpoint
from keysat.webhooks.replay import resend_delivery
from tests.builders import check_invoice, load_account, make_invoice

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

OLD = func.now() - seconds(91 * 86_400)
YOUNG = func.now() - seconds(89 * 86_400)
TABLES = (AuditLine, DeliveryAttempt, InvoiceCheck, OutboundEvent, ProviderEvent, Sweep, WebhookDelivery)


def count():
    with reading() as session:
        return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) for table in TABLES}


def everything(at, **delivery):
    """A closed invoice with checks, a delivery with an attempt, an event and a sweep, all of that time."""
    invoice = make_invoice()
    check_invoice(invoice.id)
    with transaction() as session:
        emit(session, EventType.LICENSE_ISSUED, {})
        event_id = store(session, load_account().id, ReceivedEvent(str(invoice.id), "InvoiceSettled", "x"), b"{}")
        sweep = Sweep(provider_account_id=load_account().id, since=at, next_until=at, finished_at=at)
        session.add(sweep)
        session.flush()
        delivery_id = session.scalars(select(WebhookDelivery.id).order_by(WebhookDelivery.id.desc())).first()
        session.execute(insert(DeliveryAttempt).values(delivery_id=delivery_id, duration_ms=1, at=at))
        session.execute(update(OutboundEvent).values(created_at=at))
        done = {"next_attempt_at": None, "delivered_at": at, **delivery}
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == delivery_id).values(done))
        handled = {"received_at": at, "handled_at": at, "next_attempt_at": None}
        session.execute(update(ProviderEvent).where(ProviderEvent.id == event_id).values(handled))
        session.execute(update(InvoiceCheck).values(at=at))
        session.execute(update(Invoice).values(next_check_at=None))


@pytest.fixture(autouse=True)
def _endpoint(empty_database):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com/", actor="cli")


def test_what_is_over_and_old_goes_and_the_audit_log_stays():
    everything(OLD)
    before = count()
    assert count_prunable(DATABASE, 90) == {**prune(DATABASE, 90), "outbound_events": 0}
    assert count() == {**dict.fromkeys(before, 0), "audit_log": before["audit_log"]}


def test_what_is_young_stays():
    everything(YOUNG)
    before = count()
    assert set(prune(DATABASE, 90).values()) == {0}
    assert count() == before


def test_pending_and_dead_rows_stay():
    everything(OLD, next_attempt_at=OLD, delivered_at=None)
    everything(OLD, delivered_at=None)
    with transaction() as session:
        session.execute(update(ProviderEvent).values(next_attempt_at=OLD))
        session.execute(update(Invoice).values(next_check_at=OLD))
        session.execute(
            update(Sweep)
            .values(finished_at=None)
            .where(Sweep.id.in_(select(Sweep.id).order_by(Sweep.id.desc()).limit(1)))
        )
    prune(DATABASE, 90)
    left = count()
    kept = ("delivery_attempts", "invoice_looks", "outbound_events", "provider_events", "webhook_deliveries")
    assert {name: left[name] for name in kept} == dict.fromkeys(kept, 2)
    assert left["sweeps"] == 1


def test_retried_delivery_stays_while_pruning():
    everything(OLD)
    with reading() as session:
        delivery_id = session.scalar(select(WebhookDelivery.id))
    with transaction() as session:
        resend_delivery(session, delivery_id, actor="cli")
        assert prune(DATABASE, 90)["webhook_deliveries"] == 0  # and waits for no lock
    assert (count()["webhook_deliveries"], count()["outbound_events"]) == (1, 1)


def test_prune_event_with_new_delivery():
    """An event that gets a delivery during the pruning stays, with all its deliveries."""
    everything(OLD)
    with transaction() as session:
        session.execute(delete(WebhookDelivery))
        event_id = session.scalar(select(OutboundEvent.id))
        endpoint_id = session.scalar(select(WebhookEndpoint.id))
    with transaction() as session:
        session.add(WebhookDelivery(event_id=event_id, endpoint_id=endpoint_id, next_attempt_at=func.now()))
        session.flush()
        assert prune(DATABASE, 90)["outbound_events"] == 0
    assert (count()["webhook_deliveries"], count()["outbound_events"]) == (1, 1)


def test_checks_of_reviews_stay():
    everything(OLD)
    with transaction() as session:
        session.execute(update(Invoice).values(review_reason="underpaid", review_opened_at=OLD))
    assert prune(DATABASE, 90)["invoice_looks"] == 0
    with transaction() as session:
        session.execute(update(Invoice).values(review_resolved_at=OLD))
    assert prune(DATABASE, 90)["invoice_looks"] == 1


def test_many_rows_go_in_batches(monkeypatch):
    monkeypatch.setattr("keysat.operations.retention._BATCH", 2)
    for _ in range(5):
        everything(OLD)
        everything(OLD, next_attempt_at=OLD, delivered_at=None)
    assert prune(DATABASE, 90)["webhook_deliveries"] == 5
    assert (count()["webhook_deliveries"], count()["outbound_events"], count()["invoice_looks"]) == (5, 5, 0)


def test_task_prunes_by_the_setting():
    everything(OLD)
    prune_()
    assert count()["webhook_deliveries"] == 1  # the clock has been read only once
    prune_()
    assert count()["webhook_deliveries"] == 0


def test_old_mail_goes_unless_somebody_waits_for_it():
    ends = {"sent": {"status": "sent"}, "dropped": {"status": "dropped"}, "failed": {"status": "failed"}, "pending": {}}
    for name, facts in ends.items():
        over = {"ended_at": OLD, "next_attempt_at": None} if facts else {"next_attempt_at": OLD}
        row = {"kind": "receipt", "subject_id": uuid4(), "recipient": "buyer@example.com", "language": "en", **facts}
        with transaction() as session:
            session.execute(insert(Mail).values(message_id=f"<{name}@shop.example>", created_at=OLD, **row, **over))
    assert count_prunable(DATABASE, 90)["mails"] == prune(DATABASE, 90)["mails"] == 2
    with reading() as session:
        assert set(session.scalars(select(Mail.status))) == {"failed", "pending"}
