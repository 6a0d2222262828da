"""An invoice that this version can't read stops no other one, and waits with the reason for a person."""

from contextlib import contextmanager

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import func, update

from keysat.accounts.inbox import claim_events, store
from keysat.core.db import DATABASE, transaction
from keysat.core.money import MAX_AMOUNT
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.invoices.due import claim_due, claim_unfulfilled
from keysat.models import Invoice, ProviderEvent
from keysat.providers.base import ReceivedEvent
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep import pages
from keysat.tasks.tasks import handle_provider_event, issue_license, reconcile_invoice
from tests.builders import (
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_due,
    make_invoice,
    set_account,
    set_columns,
)
from tests.versions import written_by_another_version

pytestmark = pytest.mark.usefixtures("shop", "empty_broker")


@contextmanager
def unknown_status(invoice):
    with written_by_another_version("invoices", invoice.id, "frozen"):
        yield


@contextmanager
def unknown_currency(invoice):
    set_columns(invoice.id, currency="XAU")
    yield


@contextmanager
def impossible_amount(invoice):
    set_columns(invoice.id, amount=MAX_AMOUNT + 1, base_amount=MAX_AMOUNT + 1)
    yield


@contextmanager
def credentials(sealed, invoice):
    """The invoice is of another account, whose stored credentials are these bytes."""
    account = make_account("other", kind="btcpay", base_url=load_account().base_url, store_id="other-store")
    set_account("other", sealed_credentials=sealed)
    set_columns(invoice.id, provider_account_id=account.id)
    yield


@contextmanager
def credentials_of_another_key(invoice):
    with credentials(Fernet(Fernet.generate_key()).encrypt(b'{"api_key": "x"}'), invoice):
        yield


@contextmanager
def credentials_in_broken_json(invoice):
    with credentials(secret_box(load_settings()).encrypt(b'{"api_key": '), invoice):
        yield


@contextmanager
def credentials_without_key(invoice):
    with credentials(secret_box(load_settings()).encrypt(b"{}"), invoice):
        yield


OF_THE_ROW = [unknown_status, unknown_currency, impossible_amount]
OF_THE_ACCOUNT = [credentials_of_another_key, credentials_in_broken_json, credentials_without_key]
spoiled = pytest.mark.parametrize("spoil", [*OF_THE_ROW, *OF_THE_ACCOUNT], ids=lambda spoil: spoil.__name__)


@pytest.fixture
def paid(shop):
    """Three invoices, paid and due. The first one is the bad one."""
    invoices = [make_invoice() for _ in range(3)]
    for invoice in invoices:
        shop.pay(invoice.provider_invoice_id)
        make_due(invoice.id)
    return invoices


def run(task, claims):
    """Run a task for each row as a worker does, which goes on after a task that fails."""
    for claim in claims:
        task.apply((str(claim.row_id),))


def issue_all():
    """Issue what is due, as a scan does that comes in time."""
    with transaction() as session:
        session.execute(update(Invoice).where(Invoice.license_due).values(next_check_at=func.now()))
    with transaction() as session:
        claims = claim_unfulfilled(session, 10)
    run(issue_license, claims)


def licensed(invoices):
    return [len(load_licenses(invoice.id)) for invoice in invoices]


def check_waits(invoice):
    """The invoice has no license, it is checked again, and it has the reason that a person sees."""
    row = load_invoice(invoice.id)
    assert row.last_error
    assert row.next_check_at is not None
    assert load_licenses(invoice.id) == []


@spoiled
def test_bad_invoice_stops_no_check(paid, spoil, log_of):
    bad, *good = paid
    logs = [log_of("keysat.tasks.app"), log_of("keysat.settlement.reconcile")]
    with spoil(bad):
        accounts = {load_invoice(invoice.id).provider_account_id for invoice in paid}
        with transaction() as session:
            claims = [claim for account_id in accounts for claim in claim_due(session, 10, account_id)]
        assert {claim.row_id for claim in claims} == {invoice.id for invoice in paid}
        run(reconcile_invoice, claims)
        issue_all()
        assert licensed(good) == [1, 1]
        check_waits(bad)
    assert "warning" in {line["log_level"] for lines in logs for line in lines}


@pytest.mark.parametrize("spoil", OF_THE_ROW, ids=lambda spoil: spoil.__name__)
def test_bad_invoice_stops_no_sweep(paid, spoil):
    bad, *_ = paid
    with spoil(bad):
        changed = [claim for page in pages(DATABASE, load_account().id, SettlementRules()) for claim in page.changed]
        assert {claim.row_id for claim in changed} == {invoice.id for invoice in paid}
        run(reconcile_invoice, changed)
        check_waits(bad)


@spoiled
def test_bad_invoice_stops_no_event(paid, spoil):
    """Nor does an event that names no invoice of ours, in a body that nothing can read."""
    bad, *good = paid
    with spoil(bad):
        with transaction() as session:
            store(session, load_account().id, ReceivedEvent("odd", "InvoiceFrozen", None), b"\xff{")
            for invoice in paid:
                event = ReceivedEvent(f"of-{invoice.id}", "InvoiceSettled", invoice.provider_invoice_id)
                store(session, load_invoice(invoice.id).provider_account_id, event, b"{}")
            session.execute(update(ProviderEvent).values(next_attempt_at=func.now()))
        with transaction() as session:
            claims = claim_events(session, 10)
        assert len(claims) == 4
        run(handle_provider_event, claims)
        issue_all()
        assert licensed(good) == [1, 1]
        check_waits(bad)
