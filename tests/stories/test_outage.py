"""After an outage many invoices are due at once: few calls find the paid ones, and those are licensed."""

from datetime import timedelta

from keysat.tasks.tasks import sweep_account, sweep_accounts
from tests.builders import load_account, load_licenses, make_due, make_invoice
from tests.nodes import wait_until

OPEN, PAID = 60, 12


def test_backlog_is_swept_and_licensed(celery_setup, shop):
    invoices = [make_invoice() for _ in range(OPEN)]
    for invoice in invoices:
        make_due(invoice.id, timedelta(minutes=11))
    for invoice in invoices[:PAID]:
        shop.pay(invoice.provider_invoice_id)
    assert shop.requests_made()["invoice_reads"] == {}
    sweep_accounts.delay()
    wait_until(lambda: len(load_licenses()) == PAID)
    assert set(shop.requests_made()["invoice_reads"]) == {invoice.provider_invoice_id for invoice in invoices[:PAID]}
    assert {row.invoice_id for row in load_licenses()} == {invoice.id for invoice in invoices[:PAID]}


def test_account_that_does_not_exist_is_refused_in_one_sentence(celery_setup, shop):
    sweep_account.delay("'; DROP TABLE invoices; --")
    celery_setup.worker.wait_for_log("is not an id")
    sweep_account.delay(str(load_account().id))
    celery_setup.worker.wait_for_log("swept")
    assert "Traceback" not in celery_setup.worker.logs()
