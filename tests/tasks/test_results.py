"""What tasks return, which Flower shows: a short text without buyers' data."""

import pytest
from sqlalchemy import func

from keysat.tasks import sending, tasks
from keysat.tasks.app import app
from tests.builders import load_account, load_licenses, make_invoice, make_shop

BUYER = "buyer@example.com"
assert sending  # its tasks are among those of the app
SCANS = {
    "keysat.scan_pending": "sent: 0 licenses, 0 checks, 0 events",
    "keysat.sweep_accounts": "sent: 0 accounts",
    "keysat.scan_subscriptions": "lengthened: 0 grace periods, looked at the end of 0 licenses",
    "keysat.scan_deliveries": "sent: 0 deliveries",
    "keysat.scan_mails": "mail is off",
    "keysat.scan_tips": "sent: 0 tips",
}

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake")


@pytest.mark.parametrize(("name", "result"), SCANS.items())
def test_scan_returns_what_it_sent(name, result):
    assert app.tasks[name]() == result


def test_issue_and_recheck_return_what_they_did():
    make_shop()
    invoice = make_invoice(status="settled", settled_at=func.now(), buyer_email=BUYER)
    issued = tasks.issue_license(str(invoice.id))
    [license_] = load_licenses(invoice.id)
    assert issued == f"license {license_.id}"
    assert tasks.issue_license(str(invoice.id)) == "issued before"
    assert tasks.recheck_account(str(load_account().id)) == "main is accepted"


def test_every_task_says_that_it_returns_a_text():
    ours = {name: task for name, task in app.tasks.items() if name.startswith("keysat.")}
    assert {name for name, task in ours.items() if task.run.__annotations__["return"] != "str"} == set()
