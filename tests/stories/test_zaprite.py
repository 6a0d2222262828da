"""The mission at another provider: an order paid at Zaprite is licensed, by its webhook at once, or by asking."""

import pytest
import requests

from keysat.tasks.tasks import scan_pending
from tests.builders import (
    SECRET,
    audit_actions,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_catalog,
    make_due,
    make_invoice,
)
from tests.nodes import wait_until
from tests.webhooks.replay import await_quiet

pytestmark = pytest.mark.usefixtures("celery_setup")

KEY = "key-of-test-store"


@pytest.fixture
def zaprite_shop(sandbox):
    """One product, sold through one account at Zaprite, whose webhooks are all lost."""
    sandbox.register_store("organization", KEY, f"{sandbox.url}/nobody", kind="zaprite")
    make_account(kind="zaprite", base_url=sandbox.url, store_id="", api_key=KEY)
    make_catalog()
    return sandbox


@pytest.fixture
def webhook_url(web_url, zaprite_shop):
    return f"{web_url}/v1/zaprite/webhook/{load_account().id}"


@pytest.fixture
def connected_zaprite_shop(zaprite_shop, webhook_url):
    """The shop, its webhooks sent to us."""
    zaprite_shop.register_store("organization", KEY, f"{webhook_url}/{SECRET}", kind="zaprite")
    zaprite_shop.set_webhooks()
    return zaprite_shop


def check_by_schedule(invoice):
    make_due(invoice.id)
    scan_pending.delay()


def test_paid_order_whose_webhooks_are_lost_becomes_a_license(zaprite_shop):
    invoice = make_invoice()
    zaprite_shop.pay(invoice.provider_invoice_id)
    assert zaprite_shop.ledger()["webhooks"]["delivered"] == 0

    check_by_schedule(invoice)
    wait_until(lambda: load_licenses(invoice.id))
    assert audit_actions(invoice.id) == ["invoice.opened", "invoice.settled"]


def test_paid_order_is_licensed_by_its_webhook_without_any_scan(connected_zaprite_shop):
    invoice = make_invoice()
    connected_zaprite_shop.pay(invoice.provider_invoice_id)
    wait_until(lambda: load_licenses(invoice.id))
    assert load_invoice(invoice.id).check_count == 0, "no scan has claimed it"


def test_underpaid_order_is_licensed_once_the_rest_is_paid(connected_zaprite_shop):
    invoice = make_invoice()
    connected_zaprite_shop.pay(invoice.provider_invoice_id, "0.00020000")
    wait_until(lambda: load_invoice(invoice.id).paid_amount == 20_000)
    assert (load_invoice(invoice.id).status, load_licenses()) == ("pending", [])

    connected_zaprite_shop.pay(invoice.provider_invoice_id)
    wait_until(lambda: load_licenses(invoice.id))
    assert (load_invoice(invoice.id).status, load_invoice(invoice.id).paid_amount) == ("settled", 21_000)


def test_every_way_of_paying_ends_where_it_should(zaprite_shop):
    ways = {
        "on time": zaprite_shop.pay,
        "too much": lambda i: zaprite_shop.pay(i, "0.00050000"),
        "late": lambda i: zaprite_shop.pay(i, late=True),
        "by the merchant's word": lambda i: zaprite_shop.mark(i, "Settled"),
        "half, then expired": lambda i: (zaprite_shop.pay(i, "0.00010000"), zaprite_shop.expire(i)),
        "without a confirmation": lambda i: zaprite_shop.pay(i, confirmations=0),
        "not at all": zaprite_shop.expire,
        "refused": lambda i: zaprite_shop.mark(i, "Invalid"),
    }
    invoices = {way: make_invoice() for way in ways}
    for way, pay in ways.items():
        pay(invoices[way].provider_invoice_id)
        make_due(invoices[way].id)
    scan_pending.delay()

    wait_until(lambda: len(load_licenses()) == 4)
    wait_until(lambda: load_invoice(invoices["refused"].id).status == "invalid")
    ends = {way: load_invoice(invoice.id) for way, invoice in invoices.items()}
    assert {way: (row.status, row.exception, row.review_reason) for way, row in ends.items()} == {
        "on time": ("settled", "none", None),
        "too much": ("settled", "over", None),
        "late": ("settled", "none", None),
        "by the merchant's word": ("settled", "none", None),
        "half, then expired": ("expired", "partial", "underpaid"),
        "without a confirmation": ("pending", "none", None),
        "not at all": ("expired", "none", None),
        "refused": ("invalid", "none", None),
    }


def test_zaprite_unknown_status(zaprite_shop):
    """An unknown status changes nothing until a known one follows."""
    invoice = make_invoice()
    zaprite_shop.pay(invoice.provider_invoice_id)
    zaprite_shop.set_faults([{"kind": "rewrite", "fields": {"status": "SOMETHING NEW"}, "times": 1}])
    check_by_schedule(invoice)
    wait_until(lambda: load_invoice(invoice.id).last_checked_at)
    assert (load_invoice(invoice.id).status, load_licenses()) == ("pending", [])

    check_by_schedule(invoice)
    wait_until(lambda: load_licenses(invoice.id))


@pytest.mark.parametrize("token", ["", f"/{SECRET[:-1]}", f"/{SECRET}0", "/another-token-of-24-bytes-or-more"])
def test_webhook_with_wrong_token_causes_no_check(zaprite_shop, webhook_url, token):
    invoice = make_invoice()
    zaprite_shop.pay(invoice.provider_invoice_id)
    asked = zaprite_shop.requests_made()["total"]
    forged = {"event": "order.change", "data": {"id": invoice.provider_invoice_id, "status": "PAID"}}
    assert requests.post(f"{webhook_url}{token}", json=forged, timeout=120).status_code == 401
    assert (zaprite_shop.requests_made()["total"], load_licenses()) == (asked, [])


def test_webhook_that_says_paid_is_not_believed(zaprite_shop, webhook_url):
    invoice = make_invoice()
    said = {"event": "order.change", "data": {"id": invoice.provider_invoice_id, "status": "PAID"}}
    answer = requests.post(f"{webhook_url}/{SECRET}", json=said, timeout=120)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "duplicate": False})
    await_quiet()
    assert zaprite_shop.requests_made()["by_route"]["GET invoice"] == 1
    assert (load_invoice(invoice.id).status, load_licenses()) == ("pending", [])
