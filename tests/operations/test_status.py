"""One status object: the command line, the admin API, the metrics, `keysat doctor` and the log show the same facts."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from keysat import __version__, migrations
from keysat.cli import doctor
from keysat.cli.status import complaints, notes
from keysat.core import metrics
from keysat.core.db import reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import License, Tip, WebhookDelivery
from keysat.models.task_run import note_run
from keysat.net import untrusted
from keysat.operations.invariants import INVARIANTS
from keysat.operations.status import read_status
from keysat.queue.outbox import EventType, emit
from keysat.web.admin.status import status as status_of_the_api
from keysat.web.health import StatusCollector
from keysat.webhooks.endpoints import add_endpoint
from tests.builders import issue_now, make_due, make_invoice, make_shop, set_account

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def status():
    with reading() as session:
        return read_status(session, load_settings().scan_seconds)


@pytest.fixture
def troubled(signer):
    """An installation with something wrong in every part of its status."""
    make_due(make_invoice().id, timedelta(minutes=10))
    make_invoice(review_reason="late", review_opened_at=func.now())
    make_invoice(error_count=1, last_error="it is down")
    sale = make_invoice(status="settled", settled_at=func.now())
    issue_now(sale.id, signer.key_id)
    long_ago = func.now() - timedelta(days=1)
    set_account(webhook_connected_at=long_ago, failure_count=5, open_until=func.now() + timedelta(minutes=1))
    with transaction() as session:
        license_id = session.scalars(select(License.id)).one()
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com", actor="cli")
        emit(session, EventType.TIP_FAILED, {})
        for delivery in session.scalars(select(WebhookDelivery)):
            delivery.next_attempt_at = None
        for held in ("failed", "held"):
            tip = Tip(invoice_id=sale.id, license_id=license_id, recipient=f"{held}@example.com", amount_msat=1_000)
            tip.provider_account_id, tip.status = sale.provider_account_id, held
            session.add(tip)
        note_run(session, "scan_pending")


def test_status_has_the_facts_of_every_part(troubled):
    found = status()
    assert (found.backlog.review, found.backlog.failing, found.backlog.late) == (1, 1, 0)
    assert {breach.invariant for breach in found.breaches} == {"account_resting"}
    assert [webhooks_missing.account for webhooks_missing in found.silent] == ["main"]
    assert [account.name for account in found.failing_accounts] == ["main"]
    assert (found.dead_letters, found.failed_tips, found.held_tips) == (1, 1, 1)
    assert found.scanned_ago is not None
    assert found.trouble


def test_status_names_the_versions():
    versions = status().versions
    assert (versions.keysat, versions.schema) == (__version__, migrations.head())
    assert versions.postgresql


def test_every_surface_shows_the_same_status(troubled):
    found = status()
    api = status_of_the_api("tests")
    assert (api.trouble, api.breaches, api.dead_letters) == (True, [*map(str, found.breaches)], 1)
    assert api.silent_webhooks == ["main"]
    text = metrics.exposition(StatusCollector()).decode()
    for name in ("review", "failing", "pending", "due"):
        assert f"keysat_invoices_{name} {getattr(found.backlog, name)}.0" in text
    for invariant in INVARIANTS:
        count = found.breach_counts[invariant.name]
        assert f'keysat_invariant_breaches{{invariant="{invariant.name}"}} {count}.0' in text
    details = [finding.detail for finding in doctor.examine(load_settings())]
    assert set(complaints(found)) <= set(details)
    assert len(notes(found)) == 3


def test_new_shop_has_no_trouble():
    make_shop()
    found = status()
    assert (found.trouble, found.alarms, found.scanned_ago) == (False, (), None)
    assert (complaints(found), notes(found)) == ([], [])
    assert set(found.breach_counts.values()) == {0}


def test_doctor_reports_that_the_address_guard_is_missing(settings, monkeypatch):
    monkeypatch.setattr(untrusted, "refusal", lambda *_: None)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)
    guard = next(finding for finding in doctor.examine(settings) if finding.what == "address guard")
    assert not guard.ok
    assert "the address guard isn't in place" in guard.detail
