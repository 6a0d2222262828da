"""A store's webhooks through BTCPay's API: each response has BTCPay's shape, and each registration has its effect."""

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


def test_new_webhook_has_btcpays_defaults_and_a_secret_that_is_shown_once(merchant):
    created = create(merchant)
    assert len(created.pop("secret")) == 22
    assert created == {
        "id": created["id"],
        "url": URL,
        "enabled": True,
        "automaticRedelivery": True,
        "authorizedEvents": {"everything": True, "specificEvents": []},
    }
    assert listed(merchant) == [created]
    assert one_of(merchant, created) == created


def test_update_replaces_all_but_a_secret_that_is_left_out(merchant, sandbox_server):
    created = create(merchant, secret=SECRET, enabled=False)
    chosen = {"everything": False, "specificEvents": ["InvoiceSettled"]}
    body = {"url": f"{URL}/2", "automaticRedelivery": False, "authorizedEvents": chosen}
    updated = merchant.ok("WebhookData", "PUT", f"/webhooks/{created['id']}", json=body)
    assert updated == {"id": created["id"], "enabled": True, **body}
    [kept] = sandbox_server.ledger.store("shop").webhooks
    assert kept.secret == SECRET
    merchant.ok("WebhookData", "PUT", f"/webhooks/{created['id']}", json={"url": URL, "secret": f"{SECRET}-2"})
    [kept] = sandbox_server.ledger.store("shop").webhooks
    assert kept.secret == f"{SECRET}-2"


def test_deleted_webhook_is_gone(merchant):
    first, second = create(merchant), create(merchant)
    assert merchant.call("DELETE", f"/webhooks/{first['id']}").status_code == 200
    assert [webhook["id"] for webhook in listed(merchant)] == [second["id"]]
    for method in ("GET", "PUT", "DELETE"):
        response = merchant.call(method, f"/webhooks/{first['id']}", json={"url": URL})
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
def test_malformed_webhook_gets_the_validation_list(merchant, change, path):
    created = create(merchant)
    for method, where in (("POST", "/stores/shop/webhooks"), ("PUT", f"/webhooks/{created['id']}")):
        response = merchant.call(method, where, json={"url": URL, **change})
        assert response.status_code == 422
        validator("ValidationProblemDetails").validate(response.json())
        assert [error["path"] for error in response.json()] == [path]


def test_body_that_is_no_object_gets_the_validation_list(merchant):
    response = merchant.call("POST", "/stores/shop/webhooks", json=[URL])
    assert response.status_code == 422
    validator("ValidationProblemDetails").validate(response.json())


def test_webhooks_need_the_key_of_their_store(merchant, sandbox):
    created = create(merchant)
    sandbox.register_store("other", "other-key")
    paths = ("/stores/shop/webhooks", f"/webhooks/{created['id']}")
    for key, status in (("", 401), ("wrong", 401), ("other-key", 403)):
        for path in paths:
            response = Shop(merchant.url, merchant.session, key).call("GET", path)
            assert response.status_code == status
            validator("ProblemDetails").validate(response.json())
    assert response.json()["missingPermission"] == "btcpay.store.webhooks.canmodifywebhooks"


def test_webhook_that_was_registered_at_the_control_side_is_listed(merchant, sandbox):
    sandbox.register_store("shop", KEY, URL, SECRET)
    assert [webhook["url"] for webhook in listed(merchant)] == [URL]


def test_events_are_signed_with_the_registered_secret_and_name_the_webhook(merchant, merchant_receiver):
    merchant.call("DELETE", f"/webhooks/{listed(merchant)[0]['id']}")
    created = create(merchant, url=merchant_receiver.url, secret="another-secret-of-24-bytes")
    merchant.create()
    event = merchant_receiver.next()
    signature = hmac.new(b"another-secret-of-24-bytes", merchant_receiver.last_body, hashlib.sha256).hexdigest()
    assert merchant_receiver.last_headers["BTCPay-Sig"] == f"sha256={signature}"
    assert event["webhookId"] == created["id"]


def test_only_the_kinds_that_were_chosen_are_sent(merchant, sandbox, merchant_receiver):
    [webhook] = listed(merchant)
    chosen = {"everything": False, "specificEvents": ["InvoiceProcessing", "InvoiceSettled"]}
    merchant.call("PUT", f"/webhooks/{webhook['id']}", json={"url": merchant_receiver.url, "authorizedEvents": chosen})
    sandbox.pay(merchant.create()["id"])
    assert merchant_receiver.types(2) == ["InvoiceProcessing", "InvoiceSettled"]
    settle_counts(sandbox, sent=2, delivered=2)


def test_webhook_that_is_not_enabled_gets_nothing(merchant, sandbox, merchant_receiver):
    [webhook] = listed(merchant)
    merchant.call("PUT", f"/webhooks/{webhook['id']}", json={"url": merchant_receiver.url, "enabled": False})
    sandbox.pay(merchant.create()["id"])
    settle_counts(sandbox)


def test_webhook_without_redelivery_fails_at_once(merchant, sandbox, merchant_receiver):
    [webhook] = listed(merchant)
    merchant.call(
        "PUT", f"/webhooks/{webhook['id']}", json={"url": merchant_receiver.url, "automaticRedelivery": False}
    )
    merchant_receiver.statuses = [500]
    merchant.create()
    settle_counts(sandbox, sent=1, failed=1)


def test_each_webhook_of_a_store_gets_each_event(merchant, sandbox, merchant_receiver):
    with receiving() as second:
        create(merchant, url=second.url, secret=SECRET)
        sandbox.pay(merchant.create()["id"])
        assert merchant_receiver.types(5) == second.types(5) == ["InvoiceCreated", *PAID]
        settle_counts(sandbox, sent=10, delivered=10)
        sandbox.register_store("shop", KEY)
