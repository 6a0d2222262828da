"""A store's webhooks through BTCPay's API: each answer in BTCPay's shape, each one obeyed."""

import hashlib
import hmac

import pytest

from tests.btcpay_openapi import validator
from tests.sandbox.conftest import KEY, SECRET, Shop, receiving
from tests.sandbox.test_webhooks import PAID, settle_counts

URL = "https://shop.example/hook"


def create(shop, **body):
    return shop.ok("WebhookDataCreateResult", "POST", "/stores/shop/webhooks", json={"url": URL, **body})


def listed(shop):
    return shop.ok("WebhookDataList", "GET", "/stores/shop/webhooks")


def one_of(shop, webhook):
    return shop.ok("WebhookData", "GET", f"/webhooks/{webhook['id']}")


def test_new_webhook_has_btcpays_defaults_and_a_secret_that_is_shown_once(shop):
    created = create(shop)
    assert len(created.pop("secret")) == 22
    assert created == {
        "id": created["id"],
        "url": URL,
        "enabled": True,
        "automaticRedelivery": True,
        "authorizedEvents": {"everything": True, "specificEvents": []},
    }
    assert listed(shop) == [created]
    assert one_of(shop, created) == created


def test_update_replaces_all_but_a_secret_that_is_left_out(shop, sandbox):
    created = create(shop, secret=SECRET, enabled=False)
    chosen = {"everything": False, "specificEvents": ["InvoiceSettled"]}
    body = {"url": f"{URL}/2", "automaticRedelivery": False, "authorizedEvents": chosen}
    updated = shop.ok("WebhookData", "PUT", f"/webhooks/{created['id']}", json=body)
    assert updated == {"id": created["id"], "enabled": True, **body}
    [kept] = sandbox.ledger.store("shop").webhooks
    assert kept.secret == SECRET
    shop.ok("WebhookData", "PUT", f"/webhooks/{created['id']}", json={"url": URL, "secret": f"{SECRET}-2"})
    [kept] = sandbox.ledger.store("shop").webhooks
    assert kept.secret == f"{SECRET}-2"


def test_deleted_webhook_is_gone(shop):
    first, second = create(shop), create(shop)
    assert shop.call("DELETE", f"/webhooks/{first['id']}").status_code == 200
    assert [webhook["id"] for webhook in listed(shop)] == [second["id"]]
    for method in ("GET", "PUT", "DELETE"):
        response = shop.call(method, f"/webhooks/{first['id']}", json={"url": URL})
        assert response.status_code == 404
        validator("ProblemDetails").validate(response.json())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"url": None}, "url"),
        ({"url": "ftp://shop.example"}, "url"),
        ({"secret": 7}, "secret"),
        ({"enabled": "yes"}, "enabled"),
        ({"automaticRedelivery": None}, "automaticRedelivery"),
        ({"authorizedEvents": []}, "authorizedEvents"),
        ({"authorizedEvents": {"everything": 1}}, "authorizedEvents.everything"),
        ({"authorizedEvents": {"specificEvents": [1]}}, "authorizedEvents.specificEvents"),
    ],
)
def test_malformed_webhook_gets_the_validation_list(shop, change, path):
    created = create(shop)
    for method, where in (("POST", "/stores/shop/webhooks"), ("PUT", f"/webhooks/{created['id']}")):
        response = shop.call(method, where, json={"url": URL, **change})
        assert response.status_code == 422
        validator("ValidationProblemDetails").validate(response.json())
        assert [error["path"] for error in response.json()] == [path]


def test_body_that_is_no_object_gets_the_validation_list(shop):
    response = shop.call("POST", "/stores/shop/webhooks", json=[URL])
    assert response.status_code == 422
    validator("ValidationProblemDetails").validate(response.json())


def test_webhooks_need_the_key_of_their_store(shop, client):
    created = create(shop)
    client.register_store("other", "other-key")
    paths = ("/stores/shop/webhooks", f"/webhooks/{created['id']}")
    for key, status in (("", 401), ("wrong", 401), ("other-key", 403)):
        for path in paths:
            response = Shop(shop.url, shop.session, key).call("GET", path)
            assert response.status_code == status
            validator("ProblemDetails").validate(response.json())
    assert response.json()["missingPermission"] == "btcpay.store.webhooks.canmodifywebhooks"


def test_webhook_that_was_registered_at_the_control_side_is_listed(shop, client):
    client.register_store("shop", KEY, URL, SECRET)
    assert [webhook["url"] for webhook in listed(shop)] == [URL]


def test_events_are_signed_with_the_registered_secret_and_name_the_webhook(shop, receiver):
    shop.call("DELETE", f"/webhooks/{listed(shop)[0]['id']}")
    created = create(shop, url=receiver.url, secret="another-secret-of-24-bytes")
    shop.create()
    event = receiver.next()
    signature = hmac.new(b"another-secret-of-24-bytes", receiver.last_body, hashlib.sha256).hexdigest()
    assert receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"
    assert event["webhookId"] == created["id"]


def test_only_the_kinds_that_were_chosen_are_sent(shop, client, receiver):
    [webhook] = listed(shop)
    chosen = {"everything": False, "specificEvents": ["InvoiceProcessing", "InvoiceSettled"]}
    shop.call("PUT", f"/webhooks/{webhook['id']}", json={"url": receiver.url, "authorizedEvents": chosen})
    client.pay(shop.create()["id"])
    assert receiver.types(2) == ["InvoiceProcessing", "InvoiceSettled"]
    settle_counts(client, sent=2, delivered=2)


def test_webhook_that_is_not_enabled_gets_nothing(shop, client, receiver):
    [webhook] = listed(shop)
    shop.call("PUT", f"/webhooks/{webhook['id']}", json={"url": receiver.url, "enabled": False})
    client.pay(shop.create()["id"])
    settle_counts(client)


def test_webhook_without_redelivery_fails_at_once(shop, client, receiver):
    [webhook] = listed(shop)
    shop.call("PUT", f"/webhooks/{webhook['id']}", json={"url": receiver.url, "automaticRedelivery": False})
    receiver.statuses = [500]
    shop.create()
    settle_counts(client, sent=1, failed=1)


def test_each_webhook_of_a_store_gets_each_event(shop, client, receiver):
    with receiving() as second:
        create(shop, url=second.url, secret=SECRET)
        client.pay(shop.create()["id"])
        assert receiver.types(5) == second.types(5) == ["InvoiceCreated", *PAID]
        settle_counts(client, sent=10, delivered=10)
        client.register_store("shop", KEY)
