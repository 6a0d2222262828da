"""Registering our webhook at BTCPay: requests validated against BTCPay's own API description, and odd responses."""

import json

import pytest

from keysat.core.errors import (
    CredentialsRejected,
    PermissionMissing,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
)
from keysat.providers.btcpay.adapter import BTCPay
from keysat.sandbox.client import SandboxClient
from tests.btcpay_openapi import _operation, request_validator
from tests.providers.servers import raw_server, read_request, whole_answer

STORE, SECRET, URL = "store-1", "a-secret-of-at-least-24-bytes", "https://shop.example/v1/btcpay/webhook/1"
OTHER = {"id": "other", "url": f"{URL}0"}


def adapter(url, store=STORE):
    return BTCPay(url, store, {"api_key": "key-1"}, deadline=2, max_bytes=100_000)


def operations(requests):
    """Return the requests' names in BTCPay's description, and validate each body against it."""
    for request in requests:
        if request.body:
            request_validator(request.method, request.path).validate(request.json)
    return [_operation(request.method, request.path)["operationId"] for request in requests]


def test_register_creates_webhook(recorder):
    """The webhook covers the events of invoices, with redelivery."""
    recorder.answer = (200, [OTHER])
    adapter(recorder.url).connect_webhook(URL, SECRET)
    assert operations(recorder.requests) == ["Webhooks_GetWebhooks", "Webhooks_CreateWebhook"]
    assert recorder.requests[-1].path == f"/api/v1/stores/{STORE}/webhooks"
    assert recorder.requests[-1].json == {
        "url": URL,
        "secret": SECRET,
        "enabled": True,
        "automaticRedelivery": True,
        "authorizedEvents": {
            "everything": False,
            "specificEvents": [
                "InvoiceCreated",
                "InvoiceReceivedPayment",
                "InvoiceProcessing",
                "InvoiceExpired",
                "InvoiceSettled",
                "InvoiceInvalid",
                "InvoicePaymentSettled",
            ],
        },
    }


def test_webhook_of_our_url_is_updated_and_no_other_is_made(recorder):
    recorder.answer = (200, [OTHER, {"id": "ours/1", "url": URL}])
    adapter(recorder.url).connect_webhook(URL, SECRET)
    assert operations(recorder.requests) == ["Webhooks_GetWebhooks", "Webhooks_UpdateWebhook"]
    assert recorder.requests[-1].path == "/api/v1/webhooks/ours%2F1"
    assert recorder.requests[-1].json["secret"] == SECRET


def test_every_webhook_of_our_url_gets_the_secret(recorder):
    recorder.answer = (200, [{"id": "first", "url": URL}, {"id": "second", "url": URL}])
    adapter(recorder.url).connect_webhook(URL, SECRET)
    assert [request.method for request in recorder.requests] == ["GET", "PUT", "PUT"]


def test_register_older_server():
    """On an older server that knows a webhook only below its store, it is updated there."""
    seen = []

    def talk(connection, server):
        while (request := read_request(connection)) is not None:
            seen.append(f"{request.method} {request.path}")
            known = request.path.startswith("/api/v1/stores/")
            server.send(
                connection, whole_answer(json.dumps([{"id": "ours", "url": URL}]).encode(), 200 if known else 404)
            )

    with raw_server(talk) as server:
        adapter(server.url).connect_webhook(URL, SECRET)
    webhooks = f"/api/v1/stores/{STORE}/webhooks"
    assert seen == [f"GET {webhooks}", "PUT /api/v1/webhooks/ours", f"PUT {webhooks}/ours"]


def test_register_missing_permission(recorder):
    """The error names the missing permission."""
    recorder.answer = (403, {"code": "missing-permission", "message": "Insufficient API Permissions."})
    with pytest.raises(PermissionMissing, match=r"needs the permission btcpay\.store\.webhooks\.canmodifywebhooks"):
        adapter(recorder.url).connect_webhook(URL, SECRET)


def test_register_wrong_key(recorder):
    recorder.answer = (401, {"code": "unauthenticated", "message": "no"})
    with pytest.raises(CredentialsRejected, match="rejected our credentials") as rejected:
        adapter(recorder.url).connect_webhook(URL, SECRET)
    assert not isinstance(rejected.value, PermissionMissing)


def test_register_unknown_store(recorder):
    recorder.answer = (404, {"code": "store-not-found", "message": "no"})
    with pytest.raises(RemoteNotFound):
        adapter(recorder.url).connect_webhook(URL, SECRET)


@pytest.mark.parametrize(
    "answer", [None, {}, "text", [1], [[]], [{"url": URL}], [{"id": 7, "url": URL}], [{"id": "x"}]]
)
def test_register_invalid_list(recorder, answer):
    """A malformed list of webhooks is an invalid response, and nothing is registered."""
    recorder.answer = (200, answer)
    with pytest.raises(RemoteResponseInvalid):
        adapter(recorder.url).connect_webhook(URL, SECRET)
    assert recorder.only.method == "GET"


def test_connecting_twice_leaves_one_webhook(sandbox_server):
    with SandboxClient(sandbox_server.url) as client:
        client.register_store("twice", "key-1")
    store = adapter(sandbox_server.url, "twice")
    for secret in (SECRET, f"{SECRET}-new"):
        store.connect_webhook(URL, secret)
    [webhook] = sandbox_server.ledger.store("twice").webhooks
    assert (webhook.url, webhook.secret, webhook.everything) == (URL, f"{SECRET}-new", False)


@pytest.mark.parametrize("known", [[], [{"id": "1", "url": URL}]])
def test_register_error_redacts_secret(known):
    """The error is redacted if the provider repeats our request."""

    def talk(connection, server):
        while (request := read_request(connection)) is not None:
            reading = request.method == "GET"
            echo = (
                json.dumps(known).encode()
                if reading
                else json.dumps({"code": "invalid", "message": request.body.decode()}).encode()
            )
            server.send(connection, whole_answer(echo, 200 if reading else 422))

    with raw_server(talk) as server, pytest.raises(RemoteRefused, match="redacted") as refusal:
        adapter(server.url).connect_webhook(URL, SECRET)
    assert SECRET not in str(refusal.value)
