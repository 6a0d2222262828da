"""What a scan sends is bounded by what waits already, so that messages are worked on before they expire."""

import json
import time

import pytest
from sqlalchemy import func, select, update

from keysat.accounts.inbox import store
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.settings import load_settings
from keysat.invoices.due import release_invoices
from keysat.models import Invoice, ProviderEvent
from keysat.providers.base import ReceivedEvent
from keysat.queue.claim import Claim
from keysat.queue.send import send
from keysat.tasks.tasks import handle_provider_event, issue_license, reconcile_invoice, scan_pending
from tests.builders import load_account, make_due, make_invoice, make_shop

LIMIT, WAITING, OWED = 5, 3, 8
NOBODY = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def small_queue(empty_database, fake, empty_broker, monkeypatch):
    monkeypatch.setenv("KEYSAT_SCAN_QUEUE_LIMIT", str(LIMIT))
    load_settings.cache_clear()
    make_shop()
    yield
    monkeypatch.undo()
    load_settings.cache_clear()


def owe_licenses():
    for _ in range(OWED):
        make_invoice(status="settled", settled_at=func.now(), next_check_at=func.now())


def owe_answers():
    account = load_account()
    with transaction() as session:
        for number in range(OWED):
            store(
                session, account.id, ReceivedEvent(f"delivery-{number}", "InvoiceSettled", f"invoice-{number}"), b"{}"
            )
        session.execute(update(ProviderEvent).values(next_attempt_at=func.now()))


def claimed(column):
    with reading() as session:
        return session.scalar(select(func.count()).where(column > 0))


@pytest.mark.parametrize(
    ("owe", "task", "attempts"),
    [(owe_licenses, issue_license, Invoice.check_count), (owe_answers, handle_provider_event, ProviderEvent.attempts)],
)
def test_scan_queue_limit(empty_broker, owe, task, attempts):
    """The queue of licenses and events is filled up to the limit, and other rows stay due."""
    owe()
    for _ in range(WAITING):
        task.delay(NOBODY)
    scan_pending()
    assert empty_broker.llen("issue") == LIMIT
    assert claimed(attempts) == LIMIT - WAITING
    scan_pending()
    assert empty_broker.llen("issue") == LIMIT


def test_due_licenses_precede_events(empty_broker):
    owe_answers()
    owe_licenses()
    scan_pending()
    assert (claimed(Invoice.check_count), claimed(ProviderEvent.attempts)) == (LIMIT, 0)


def test_message_expiry_by_task(empty_broker):
    """A message that is harmless when repeated doesn't expire, and a check's message does."""
    owe_licenses()
    make_due(make_invoice().id)
    scan_pending()
    assert {expiry(raw) for raw in empty_broker.lrange("issue", 0, -1)} == {None}
    assert [expiry(raw) for raw in empty_broker.lrange("reconcile", 0, -1)] != [None]


def test_lapsed_claim_sends_no_message(empty_broker):
    """Its row may be due again, so the next scan sends for it. Claims that never lapse are always sent."""
    invoices = [make_invoice().id for _ in range(3)]
    claims = [Claim(invoices[0], seconds=30.0), Claim(invoices[1], seconds=90.0), Claim(invoices[2])]
    send(DATABASE, reconcile_invoice, claims, time.monotonic() - 60, release_invoices)
    sent = [json.loads(raw)["headers"] for raw in empty_broker.lrange("reconcile", 0, -1)]
    assert sorted(header["argsrepr"] for header in sent) == sorted(repr((str(row_id),)) for row_id in invoices[1:])


def expiry(raw):
    return json.loads(raw)["headers"]["expires"]
