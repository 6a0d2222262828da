"""Each invariant is broken once, and the alarm sees it: its number, its oldest case, and what to do."""

from datetime import timedelta
from unittest.mock import Mock
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, text, update

from keysat.accounts.inbox import store
from keysat.catalog.terms import Terms
from keysat.cli.hints import explained
from keysat.codes.manage import NewCode, add_code, recount
from keysat.core import metrics
from keysat.core.db import reading, transaction
from keysat.core.hints import hint_fields
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import (
    DiscountCode,
    Invoice,
    License,
    LicenseExtension,
    Mail,
    ProviderEvent,
    TaskRun,
    Tip,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.discount_code import CodeKind
from keysat.models.task_run import note_run
from keysat.operations import invariants
from keysat.providers.base import ReceivedEvent
from keysat.queue.outbox import EventType, emit
from keysat.tasks.tasks import check_invariants, scan_pending
from keysat.web.health import StatusCollector
from keysat.webhooks.endpoints import add_endpoint, pause_endpoint
from tests.builders import (
    issue_now,
    load_account,
    make_account,
    make_catalog,
    make_due,
    make_invoice,
    make_license,
    make_shop,
    set_account,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
AGO = func.now() - timedelta(minutes=10)


@pytest.fixture(autouse=True)
def _scanned_just_now(empty_database):
    with transaction() as session:
        note_run(session, "scan_pending")


def broken():
    with reading() as session:
        return invariants.broken(session, load_settings().scan_seconds)


def write(statement):
    with transaction() as session:
        session.execute(statement)


def settled_long_ago(**facts):
    return make_invoice(status="settled", settled_at=AGO, next_check_at=AGO, **facts)


def unlicensed(_):
    return settled_long_ago().id


def unpaid_license(signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    license_id = issue_now(invoice.id, signer.key_id)
    set_columns(invoice.id, status="pending", settled_at=None, fulfilled_at=None, reversal_check_at=None)
    return license_id


def code_counter(_):
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.FREE_LICENSE), actor="cli")
    write(update(DiscountCode).values(uses=7))
    return "SPRING"


def unclaimed(_):
    invoice = make_invoice()
    make_due(invoice.id, timedelta(minutes=10))
    return invoice.id


def event_stuck(_):
    make_shop()
    with transaction() as session:
        event_id = store(session, load_account().id, ReceivedEvent("d", "InvoiceSettled", "nobody's"), b"{}")
    write(update(ProviderEvent).values(next_attempt_at=AGO))
    return event_id


def delivery_stuck(_):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com/", actor="cli")
        emit(session, EventType.LICENSE_ISSUED, {})
    write(update(WebhookDelivery).values(next_attempt_at=AGO))
    with reading() as session:
        return session.scalar(text("SELECT id FROM webhook_deliveries"))


def tip_stuck(signer):
    make_account()
    make_catalog(terms=Terms(tip_recipient="dev@example.com", tip_pct_bps=500))
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    write(update(Tip).values(next_attempt_at=AGO))
    with reading() as session:
        return session.scalar(select(Tip.id))


def mail(status="failed", **facts):
    row = {
        "kind": "receipt",
        "subject_id": uuid4(),
        "recipient": "buyer@example.com",
        "language": "en",
        "status": status,
    }
    write(insert(Mail).values(message_id="<1@shop.example>", **row, **facts))
    with reading() as session:
        return session.scalar(select(Mail.id))


def mail_overdue(_):
    return mail(
        "pending", next_attempt_at=func.now() + timedelta(minutes=1), pending_since=func.now() - timedelta(hours=2)
    )


def mail_dead(_):
    return mail(ended_at=AGO)


def tip_unknown(signer):
    tip_id, ago = tip_stuck(signer), func.now() - timedelta(days=1)
    paying = {"status": "paying", "payment_hash": "00", "paying_since": ago, "payable_until": ago}
    write(update(Tip).values(**paying, next_attempt_at=func.now()))
    return tip_id


def scan_not_run(_):
    write(update(TaskRun).values(last_run_at=AGO))
    return "scan_pending"


def account_resting(_):
    make_account()
    set_account(open_until=func.now() + timedelta(seconds=30))
    return "main"


def creates_failing(_):
    make_account()
    set_account(create_failure_count=5)
    return "main"


def unpaid_extension(signer):
    row = make_license("viewer")
    renewal = make_invoice(target_license_id=row.id)
    times = {"previous_end": func.now(), "new_end": func.now(), "period_seconds": 1}
    write(insert(LicenseExtension).values(id=uuid4(), invoice_id=renewal.id, license_id=row.id, **times))
    return row.id


def overdue_notice(_):
    row = make_license("viewer", Terms(duration_seconds=86_400))
    write(update(License).values(next_notice_at=AGO))
    return row.id


BREAKERS = {
    "extension_without_payment": unpaid_extension,
    "notice_overdue": overdue_notice,
    "account_resting": account_resting,
    "creates_failing": creates_failing,
    "settled_without_license": unlicensed,
    "license_without_payment": unpaid_license,
    "code_counter": code_counter,
    "due_but_unclaimed": unclaimed,
    "event_stuck": event_stuck,
    "delivery_stuck": delivery_stuck,
    "mail_overdue": mail_overdue,
    "mail_dead": mail_dead,
    "tip_stuck": tip_stuck,
    "tip_unknown": tip_unknown,
    "scan_not_run": scan_not_run,
}


def test_each_invariant_has_a_test_that_breaks_it():
    assert set(BREAKERS) == {invariant.name for invariant in invariants.INVARIANTS}


@pytest.mark.parametrize("name", BREAKERS)
def test_breach_is_found_with_its_oldest_case_and_the_remedy(name, signer):
    assert broken() == []
    case = BREAKERS[name](signer)
    (breach,) = broken()
    assert (breach.invariant, breach.count, breach.oldest_id) == (name, 1, case)
    assert "`keysat" in explained(breach)
    assert explained(breach).endswith(".")


@pytest.mark.parametrize("name", BREAKERS)
def test_breach_is_in_the_log_and_the_metrics(name, signer, monkeypatch):
    BREAKERS[name](signer)
    (breach,) = broken()
    log = Mock()
    monkeypatch.setattr("keysat.tasks.tasks.log", log)
    check_invariants()
    log.warning.assert_called_once_with("alarm", alarm=str(breach), **hint_fields(breach))
    assert log.warning.call_args.kwargs["hint"] == breach.hint
    assert f'keysat_invariant_breaches{{invariant="{name}"}} 1.0' in metrics.exposition(StatusCollector()).decode()


def test_what_has_its_reason_is_no_breach(signer):
    settled_long_ago(review_reason="refunded", review_opened_at=func.now())
    settled_long_ago(reversed_at=func.now())
    make_license("viewer")
    unclaimed(None)
    event_stuck(None)
    delivery_stuck(None)
    assert {breach.invariant for breach in broken()} == {"due_but_unclaimed", "event_stuck", "delivery_stuck"}
    set_account(paused_at=func.now(), pause_reason="asked for")
    with transaction() as session:
        pause_endpoint(session, "shop", actor="cli")
    assert {breach.invariant for breach in broken()} == {"account_resting"}


def test_oldest_of_several_cases_is_shown():
    first = settled_long_ago()
    set_columns(first.id, settled_at=func.now() - timedelta(days=1))
    settled_long_ago()
    (breach,) = broken()
    assert (breach.count, breach.oldest_id) == (2, first.id)


def test_codes_remedy_repairs_it():
    code_counter(None)
    with transaction() as session:
        assert recount(session, "spring", actor="cli").uses == 0
    assert broken() == []


def test_scan_notes_that_it_ran(empty_broker):
    scan_not_run(None)
    scan_pending()
    assert broken() == []


def test_new_installation_has_nothing_to_complain_of():
    write(TaskRun.__table__.delete())
    assert broken() == []
    make_invoice()
    assert broken() == []
    write(update(Invoice).values(created_at=AGO))
    assert [breach.invariant for breach in broken()] == ["scan_not_run"]


def test_disabled_endpoint_is_no_breach():
    delivery_stuck(None)
    write(update(WebhookEndpoint).values(disabled_at=func.now(), disabled_reason="gone"))
    assert broken() == []
