"""The mission at OpenNode: a purchase over the web is licensed by the charge's callback, or by the scan without it."""

import hashlib
import hmac

import pytest
import requests

from keysat.core.settings import load_settings
from keysat.tasks.tasks import scan_pending
from tests.builders import (
    audit_actions,
    invoice_of,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_catalog,
    make_due,
)
from tests.nodes import wait_until
from tests.webhooks.replay import await_quiet

pytestmark = pytest.mark.usefixtures("celery_setup")

KEY = "key-of-test-store"


@pytest.fixture
def web_url(web_url, monkeypatch):
    """Where the API is served, as Keysat says."""
    monkeypatch.setenv("KEYSAT_PUBLIC_URL", web_url)
    load_settings.cache_clear()
    yield web_url
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def opennode_shop(sandbox, web_url):
    """One product, sold through one account at OpenNode, whose callbacks arrive."""
    sandbox.register_store("merchant", KEY, kind="opennode")
    make_account(kind="opennode", base_url=sandbox.url, store_id="", api_key=KEY)
    make_catalog()
    sandbox.set_webhooks()
    return sandbox


@pytest.fixture
def buy(opennode_shop, web_url):
    """Purchase as a buyer's program does; returns the purchase's id and the charge's."""

    def buy():
        body = {"product": "editor", "buyer_email": "buyer@example.com"}
        answer = requests.post(f"{web_url}/v1/purchase", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return buy


def poll(web_url, bought):
    return requests.get(f"{web_url}/v1/purchase/{bought['invoice_id']}", timeout=120).json()


def our_row(bought):
    return load_invoice(invoice_of(bought["invoice_id"]))


def test_paid_charge_is_licensed_by_its_callback_without_any_scan(opennode_shop, buy, web_url):
    bought = buy()
    assert bought["checkout_url"] == f"{opennode_shop.url}/charge/{bought['btcpay_invoice_id']}"
    opennode_shop.pay(bought["btcpay_invoice_id"])
    polled = wait_until(lambda: (now := poll(web_url, bought))["license_key"] and now)
    assert polled["status"] == "settled"
    (row,) = load_licenses()
    assert load_invoice(row.invoice_id).check_count == 0, "no scan has claimed it"
    assert audit_actions(row.invoice_id) == ["invoice.opened", "invoice.settled"]
    assert load_account().webhook_connected_at is not None


def test_unconfirmed_charge_is_licensed_once_it_is_confirmed(opennode_shop, buy, web_url):
    bought = buy()
    opennode_shop.pay(bought["btcpay_invoice_id"], confirmations=0)
    wait_until(lambda: opennode_shop.ledger()["webhooks"]["delivered"] == 1)
    await_quiet()
    assert (poll(web_url, bought)["status"], load_licenses()) == ("pending", [])
    opennode_shop.confirm(bought["btcpay_invoice_id"])
    wait_until(lambda: poll(web_url, bought)["license_key"])


@pytest.mark.parametrize("key", ["another-key", ""])
def test_forged_callback_is_refused_and_leads_to_nothing(opennode_shop, buy, web_url, key):
    opennode_shop.set_webhooks(drop=1.0)
    bought = buy()
    opennode_shop.pay(bought["btcpay_invoice_id"])
    charge_id, calls = bought["btcpay_invoice_id"], opennode_shop.requests_made()["total"]
    forged = {"id": charge_id, "status": "paid", "order_id": "x"}
    forged["hashed_order"] = hmac.new(key.encode(), charge_id.encode(), hashlib.sha256).hexdigest()
    url = f"{web_url}/v1/opennode/webhook/{load_account().id}"
    assert requests.post(url, data=forged, timeout=120).status_code == 401
    await_quiet()
    assert (opennode_shop.requests_made()["total"], load_licenses()) == (calls, [])
    assert load_account().last_event_at is None


def test_callback_that_lies_about_the_status_is_checked(opennode_shop, buy, web_url):
    """Its signature proves the charge's id alone."""
    bought = buy()
    charge_id = bought["btcpay_invoice_id"]
    said = {"id": charge_id, "status": "paid", "order_id": "x"}
    said["hashed_order"] = hmac.new(KEY.encode(), charge_id.encode(), hashlib.sha256).hexdigest()
    url = f"{web_url}/v1/opennode/webhook/{load_account().id}"
    assert requests.post(url, data=said, timeout=120).json() == {"ok": True, "duplicate": False}
    await_quiet()
    assert opennode_shop.requests_made()["by_route"]["GET invoice"] == 1
    assert (poll(web_url, bought)["status"], load_licenses()) == ("pending", [])


def test_lost_callback_is_found_by_the_scan(opennode_shop, buy, web_url):
    opennode_shop.set_webhooks(drop=1.0)
    bought = buy()
    opennode_shop.pay(bought["btcpay_invoice_id"])
    assert opennode_shop.ledger()["webhooks"]["delivered"] == 0
    make_due(our_row(bought).id)
    scan_pending.delay()
    wait_until(lambda: poll(web_url, bought)["license_key"])


def test_underpaid_charge_waits_for_a_person_until_the_rest_comes(opennode_shop, buy, web_url):
    bought = buy()
    opennode_shop.pay(bought["btcpay_invoice_id"], "0.00020000")
    row = wait_until(lambda: (now := our_row(bought)).review_reason and now)
    assert (row.status, row.review_reason, row.paid_amount, load_licenses()) == ("expired", "underpaid", 20_000, [])
    opennode_shop.pay(bought["btcpay_invoice_id"])
    wait_until(lambda: poll(web_url, bought)["license_key"])


def test_unknown_status_changes_nothing_until_a_known_one_comes(opennode_shop, buy, web_url):
    opennode_shop.set_webhooks(drop=1.0)
    bought = buy()
    opennode_shop.pay(bought["btcpay_invoice_id"])
    opennode_shop.set_faults([{"kind": "rewrite", "fields": {"status": "SOMETHING NEW"}, "times": 1}])
    make_due(our_row(bought).id)
    scan_pending.delay()
    wait_until(lambda: our_row(bought).last_error)
    assert (our_row(bought).status, load_licenses()) == ("pending", [])
    make_due(our_row(bought).id)
    scan_pending.delay()
    wait_until(lambda: poll(web_url, bought)["license_key"])
