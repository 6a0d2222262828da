"""A store's webhook through BTCPay's own routes, in its own shapes."""

import pytest

from keysat.providers.btcpay import BTCPay
from tests.btcpay_openapi import validator
from tests.embedded.sandbox.conftest import KEY, SECRET

URL = "http://127.0.0.1:9/v1/btcpay/webhook/1"


@pytest.fixture
def provider(sandbox, shop):
    return BTCPay(sandbox.url, "shop", {"api_key": KEY}, deadline=5, max_bytes=100_000)


def webhooks(shop):
    return shop.ok("WebhookDataList", "GET", "/stores/shop/webhooks")


def test_store_has_none_until_one_is_made(shop):
    assert webhooks(shop) == []
    body = {"url": URL, "secret": SECRET, "enabled": True}
    made = shop.ok("WebhookDataCreateResult", "POST", "/stores/shop/webhooks", json=body)
    assert made["secret"] == SECRET
    (listed,) = webhooks(shop)
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert shop.ok("WebhookData", "GET", f"/webhooks/{made['id']}") == listed


def test_secret_is_made_where_none_is_given(shop):
    made = shop.ok("WebhookDataCreateResult", "POST", "/stores/shop/webhooks", json={"url": URL})
    assert len(made["secret"]) >= 20


def test_webhook_can_be_changed_and_removed(shop):
    made = shop.ok("WebhookDataCreateResult", "POST", "/stores/shop/webhooks", json={"url": URL})
    path = f"/webhooks/{made['id']}"
    changed = shop.ok("WebhookData", "PUT", path, json={"url": f"{URL}/2"})
    assert (changed["id"], changed["url"]) == (made["id"], f"{URL}/2")
    assert shop.call("DELETE", path).status_code == 200
    assert webhooks(shop) == []
    assert shop.call("GET", path).status_code == 404


@pytest.mark.parametrize("body", [{}, {"url": "ftp://x"}, [], {"url": 7}])
def test_malformed_webhook_is_refused(shop, body):
    assert shop.call("POST", "/stores/shop/webhooks", json=body).status_code == 422


def test_other_keys_see_nothing(shop):
    shop.key = "another-key"
    assert shop.call("GET", "/stores/shop/webhooks").status_code == 401


def test_our_adapter_registers_one_and_then_changes_it(provider, shop):
    provider.connect_webhook(URL, SECRET)
    provider.connect_webhook(URL, f"{SECRET}-anew")
    (only,) = webhooks(shop)
    assert only["url"] == URL
    assert "InvoicePaymentSettled" in only["authorizedEvents"]["specificEvents"]
    validator("WebhookData").validate(only)


def test_events_that_were_not_asked_for_are_not_sent(client, provider, shop, receiver):
    provider.connect_webhook(receiver.url, SECRET)
    invoice = shop.create()
    client.pay(invoice["id"])
    kinds = receiver.types(5)
    assert kinds[0] == "InvoiceCreated"
    assert kinds[-1] == "InvoiceSettled"
