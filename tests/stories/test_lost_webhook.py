"""The mission: a buyer pays, the webhook is lost, and the buyer has a license all the same."""

import pytest
from keysat_licensing_client import PublicKey, Verifier

from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.invoices.due import claim_due
from keysat.licenses.signer import load_signer
from keysat.tasks.tasks import issue_license, reconcile_invoice, scan_pending
from tests.builders import (
    audit_actions,
    load_account,
    load_invoice,
    load_licenses,
    make_due,
    make_invoice,
    set_account,
)
from tests.nodes import wait_until


def licensed(invoice):
    """Await an invoice's license, whose key the published client verifies."""
    row = wait_until(lambda: load_licenses(invoice.id))[0]
    signer = load_signer(load_settings().signing_key_file)
    verified = Verifier(PublicKey.from_pem(signer.public_key_pem)).verify(signer.key_for(row))
    assert (verified.license_id, verified.product_id) == (row.id, invoice.product_id)
    assert verified.entitlements == ["export"]
    return row


def test_paid_invoice_whose_webhook_is_lost_becomes_a_license(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    assert shop.ledger()["webhooks"]["delivered"] == 0

    make_due(invoice.id)
    scan_pending.delay()

    licensed(invoice)
    assert audit_actions(invoice.id) == ["invoice.opened", "invoice.settled"]
    assert wait_until(lambda: load_invoice(invoice.id).fulfilled_at)


def test_every_way_of_paying_ends_where_it_should(celery_setup, shop):
    ways = {
        "on time": shop.pay,
        "too much": lambda i: shop.pay(i, "0.00050000"),
        "late": lambda i: shop.pay(i, late=True),
        "by the merchant's word": lambda i: shop.mark(i, "Settled"),
        "half, then expired": lambda i: (shop.pay(i, "0.00010000"), shop.expire(i)),
        "without a confirmation": lambda i: shop.pay(i, confirmations=0),
        "not at all": shop.expire,
        "refused": lambda i: shop.mark(i, "Invalid"),
    }
    invoices = {}
    for way, pay in ways.items():
        invoices[way] = make_invoice()
        pay(invoices[way].provider_invoice_id)
        make_due(invoices[way].id)
    scan_pending.delay()

    wait_until(lambda: len(load_licenses()) == 4)
    closed = [invoices[way].id for way in ("half, then expired", "not at all", "refused")]
    wait_until(lambda: all(load_invoice(invoice_id).status != "pending" for invoice_id in closed))
    ends = {way: load_invoice(invoice.id) for way, invoice in invoices.items()}
    assert {way: (row.status, row.exception, row.review_reason) for way, row in ends.items()} == {
        "on time": ("settled", "none", None),
        "too much": ("settled", "over", None),
        "late": ("settled", "late", None),
        "by the merchant's word": ("settled", "marked", None),
        "half, then expired": ("expired", "partial", "underpaid"),
        "without a confirmation": ("pending", "none", None),
        "not at all": ("expired", "none", None),
        "refused": ("invalid", "none", None),
    }


def test_lost_license_message(celery_setup, shop, empty_broker):
    """The next scan fulfills a settled invoice whose message was lost."""
    invoice = make_invoice(status="settled", settled_at=make_invoice().created_at)
    empty_broker.flushall()
    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)


def test_duplicates_and_stale_messages_leave_one_license(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    for _ in range(20):
        reconcile_invoice.delay(str(invoice.id))
        issue_license.delay(str(invoice.id))
    row = licensed(invoice)
    after = make_invoice()
    shop.pay(after.provider_invoice_id)
    reconcile_invoice.delay(str(after.id))
    licensed(after)
    assert [issued.id for issued in load_licenses(invoice.id)] == [row.id]
    assert audit_actions(invoice.id) == ["invoice.opened", "invoice.settled"]


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (lambda unpaid: issue_license.delay(str(unpaid.id)), "is pending, not settled"),
        (lambda _: issue_license.delay("0198c0de-0000-7000-8000-000000000000"), "no invoice 0198c0de"),
        (lambda _: reconcile_invoice.delay("'; DROP TABLE invoices; --"), "is not an id"),
        (lambda _: reconcile_invoice.delay({"id": 1}), "is not an id"),
    ],
)
def test_forged_message_is_refused_in_one_sentence(celery_setup, shop, forged, said):
    unpaid = make_invoice()
    forged(unpaid)
    celery_setup.worker.wait_for_log(said)
    assert "Traceback" not in celery_setup.worker.logs()
    assert load_licenses() == []
    assert load_invoice(unpaid.id).status == "pending"


def test_provider_that_fails_for_a_moment_is_asked_again_at_once(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    shop.set_faults([{"kind": "status", "status": 500, "times": 2}])
    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)
    assert load_account().failure_count == 0


def test_wish_to_be_left_alone_is_honored(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    shop.set_faults([{"kind": "status", "status": 429, "retry_after": 3600, "times": 1}])
    calls = shop.requests_made()["total"]
    make_due(invoice.id)
    scan_pending.delay()
    wait_until(lambda: load_account().open_until)
    wait_until(lambda: load_invoice(invoice.id).error_count == 1)
    assert load_invoice(invoice.id).next_check_at >= load_account().open_until
    make_due(invoice.id)
    scan_pending.delay()
    celery_setup.worker.wait_for_log("scanned")
    assert shop.requests_made()["total"] == calls + 1

    set_account(open_until=None)
    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)


def test_rejected_credentials_pause_the_account_and_lose_nothing(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    shop.set_faults([{"kind": "status", "status": 401}])
    make_due(invoice.id)
    scan_pending.delay()
    wait_until(lambda: load_account().paused_at)
    assert load_invoice(invoice.id).status == "pending"
    assert load_licenses() == []

    shop.set_faults([])
    set_account(paused_at=None, pause_reason=None, recheck_at=None)
    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)


def test_worker_killed_while_it_asks_loses_nothing(celery_setup, shop):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    shop.set_faults([{"kind": "hang", "seconds": 5, "times": 1}])
    before = shop.requests_made()["total"]
    make_due(invoice.id)
    scan_pending.delay()
    wait_until(lambda: shop.requests_made()["total"] > before)

    celery_setup.worker.kill()
    celery_setup.worker.restart()
    celery_setup.worker.ready()
    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)


def test_broker_wiped_between_claim_and_work_loses_nothing(celery_setup, shop, empty_broker):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    make_due(invoice.id)
    with transaction() as session:
        [claim] = claim_due(session, 10, load_account().id)
    assert claim.row_id == invoice.id
    empty_broker.flushall()

    make_due(invoice.id)
    scan_pending.delay()
    licensed(invoice)


def test_missing_account_is_skipped_and_says_so(celery_setup, shop):
    invoice = make_invoice()
    set_account(kind="vanished")
    make_due(invoice.id)
    scan_pending.delay()
    wait_until(lambda: "doesn't know" in (load_invoice(invoice.id).last_error or ""))
    assert load_invoice(invoice.id).status == "pending"
    assert "doesn't know" in load_account().last_error
