"""Webhooks stop: sales continue, and status, doctor and the log report it until webhooks arrive again."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from keysat.cli import app
from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.models import Invoice, ProviderAccount
from keysat.tasks.tasks import check_invariants, scan_pending
from tests.builders import load_account, load_licenses, make_due, make_invoice
from tests.nodes import wait_until
from tests.serving import serving_with


@pytest.fixture
def web_url(servers, monkeypatch):
    with serving_with() as url:
        monkeypatch.setenv("KEYSAT_PUBLIC_URL", url)
        load_settings.cache_clear()
        yield url
    monkeypatch.undo()
    load_settings.cache_clear()


def keysat(*arguments):
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def sell(shop, *, checks):
    """A buyer pays and gets a license, by polling if no webhook arrives."""
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    if checks:
        make_due(invoice.id)
        scan_pending.delay()
    wait_until(lambda: load_licenses(invoice.id))


def await_deliveries(shop):
    """Wait until the provider has a response to each webhook."""

    def all_answered():
        counts = shop.ledger()["webhooks"]
        return counts["sent"] == counts["delivered"] + counts["failed"]

    wait_until(all_answered)


def let_minutes_pass(minutes):
    past = timedelta(minutes=minutes)
    with transaction() as session:
        session.execute(update(Invoice).values(settled_at=Invoice.settled_at - past))
        seen = {name: getattr(ProviderAccount, name) - past for name in ("webhook_connected_at", "last_event_at")}
        session.execute(update(ProviderAccount).values(seen))


def test_missing_webhooks_alarm(celery_setup, shop, web_url):
    """Status, doctor and the log report missing webhooks until they arrive again."""
    shop.set_webhooks()
    assert keysat("provider", "connect", "main").exit_code == 0
    sell(shop, checks=False)
    await_deliveries(shop)
    let_minutes_pass(5)
    assert keysat("status").exit_code == 0
    assert "ok    webhooks of main: webhooks are connected since" in keysat("doctor").stdout

    shop.set_webhooks(drop=1.0)
    for _ in range(3):
        sell(shop, checks=True)
    let_minutes_pass(5)
    status, doctor = keysat("status"), keysat("doctor")
    assert (status.exit_code, doctor.exit_code) == (3, 3)
    alarm = "no webhook of account main arrived since"
    assert alarm in status.stderr
    assert "`keysat provider connect main`" in status.stderr
    assert f"FAIL  webhooks of main: {alarm}" in doctor.stdout
    check_invariants.delay()
    wait_until(lambda: alarm in celery_setup.worker.logs())

    shop.set_webhooks()
    before = load_account().last_event_at
    sell(shop, checks=False)
    wait_until(lambda: load_account().last_event_at > before)
    celery_setup.worker.container.forget_logs()
    assert keysat("status").exit_code == 0
    assert keysat("doctor").exit_code == 0
    check_invariants.delay()
    scan_pending.delay()
    wait_until(lambda: "scanned" in celery_setup.worker.logs())
    assert alarm not in celery_setup.worker.logs()
