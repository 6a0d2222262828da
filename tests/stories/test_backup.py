"""The drill of README: a dump is restored and nothing is lost, and the dump itself opens nothing."""

from uuid import UUID

import pytest
from sqlalchemy import select

from keysat.core.db import DATABASE, engine, reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.migrations import require_head
from keysat.models import Invoice, WebhookDelivery
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep import pages
from keysat.tasks.sending import scan_deliveries
from keysat.tasks.tasks import scan_pending
from keysat.webhooks.endpoints import add_endpoint, pause_endpoint, resume_endpoint
from tests.builders import (
    SECRET,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_due,
    make_invoice,
)
from tests.dumps import dump_to, restore_from, run
from tests.nodes import wait_until
from tests.webhooks.receiver import Receiver
from tests.webhooks.storm import ALLOWED


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def worker_environment():
    """The worker may reach this machine's receiver."""
    return ALLOWED


def test_restored_dump_goes_on_with_nothing_lost(celery_setup, shop, receiver, signer, tmp_path):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", receiver.url, allow_http=True, actor="cli")
        pause_endpoint(session, "shop", actor="cli")  # so that the dump has pending deliveries
    pending, unlicensed, licensed = make_invoice(), make_invoice(), make_invoice()
    for invoice in (pending, unlicensed, licensed):
        shop.pay(invoice.provider_invoice_id)
    for invoice in (unlicensed, licensed):
        check_invoice(invoice.id)
    issue_now(licensed.id, signer.key_id)
    key = signer.key_for(load_licenses(licensed.id)[0])
    with reading() as session:
        owed = set(session.scalars(select(WebhookDelivery.id)))
    dump = tmp_path / "keysat.dump"
    dump_to(dump)

    after = make_invoice()
    shop.pay(after.provider_invoice_id)
    engine().dispose()
    restore_from(dump)
    require_head()
    with reading() as session:
        assert session.get(Invoice, after.id) is None

    for page in pages(DATABASE, load_account().id, SettlementRules(), since=pending.created_at):
        for claim in page.changed:
            make_due(claim.row_id)
    make_due(pending.id)
    make_due(unlicensed.id)
    scan_pending.delay()
    wait_until(lambda: len(load_licenses()) == 4)
    assert {row.invoice_id for row in load_licenses()} == {
        invoice.id for invoice in (pending, unlicensed, licensed, after)
    }
    assert load_invoice(after.id).provider_invoice_id == after.provider_invoice_id
    assert signer.key_for(load_licenses(licensed.id)[0]) == key
    with transaction() as session:
        resume_endpoint(session, "shop", actor="cli")
    scan_deliveries.delay()
    wait_until(lambda: owed <= {UUID(delivery) for delivery in receiver.by_delivery()})


def test_dump_holds_no_secret_that_could_be_used(celery_setup, shop, receiver, signer):
    with transaction() as session:
        _, secret = add_endpoint(
            session, secret_box(load_settings()), "shop", receiver.url, allow_http=True, actor="cli"
        )
        api_key = create_key(session, "shop", Scope.WRITE, actor="cli")
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)
    license_key = signer.key_for(load_licenses()[0])
    dump = run("pg_dump")
    assert str(invoice.id).encode() in dump
    for canary in ("key-of-test-store", SECRET, secret, secret.removeprefix("whsec_"), api_key, license_key):
        for form in (canary.encode(), canary.encode().hex().encode()):
            assert form not in dump
