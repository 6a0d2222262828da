"""The public routes take what programs of older contracts send, and every page may call them."""

import json

import pytest

from keysat.web.middleware import MAX_BYTES
from tests.builders import make_license

pytestmark = pytest.mark.usefixtures("empty_database")

PUBLIC = ["/", "/v1/pubkey", "/v1/status-list", "/v1/products", "/v1/products/editor", "/v1/products/editor/policies"]


def test_purchase_lenient_fields(api, fake_shop):
    """Unknown fields are ignored, and blank means absent."""
    body = {
        "product": "  editor ",
        "rail": "lightning",
        "surprise": {"a": [1]},
        "buyer_email": " buyer@example.com\n",
        "buyer_note": "   ",
        "policy_slug": "",
        "code": "",
        "redirect_url": " ",
    }
    answer = api.post("/v1/purchase", body)
    assert answer.status_code == 200, answer.text


def test_redeem_and_machines_ignore_unknown_fields(api, fake_shop):
    assert api.post("/v1/redeem", {"product": "editor", "code": "NONE", "rail": "x"}).status_code == 404
    answer = api.post("/v1/machines/activate", {"key": "x", "fingerprint": "f", "surprise": 1})
    assert (answer.status_code, answer.json()["reason"]) == (200, "bad_format")


MISREAD = [
    b"",
    b"nonsense",
    b"[]",
    b"null",
    b"{}",
    b'{"key": null}',
    b'{"key": ""}',
    b'{"key": 7}',
    b'{"key": "x", "fingerprint": 7}',
    b'{"key": "x", "hostname": {}}',
    b'{"key": "\xff"}',
    json.dumps({"key": "x" * 70_000}).encode(),
]


@pytest.mark.parametrize("body", MISREAD, ids=lambda body: repr(body[:30]))
def test_validate_always_returns_200(api, fake_shop, body):
    answer = api.call("POST", "/v1/validate", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "reason": "bad_format"})


def test_validate_ignores_unknown_fields_and_trims(api, fake_shop, signer):
    key = signer.key_for(make_license("viewer"))
    answer = api.post("/v1/validate", {"key": f"\n {key} ", "product_slug": " viewer ", "surprise": 1, "platform": ""})
    assert answer.json()["ok"] is True


@pytest.mark.parametrize("path", [*PUBLIC, "/livez", "/readyz", "/openapi.json"])
def test_head_is_answered_as_get_without_a_body(api, fake_shop, path):
    got, head = api.call("GET", path), api.call("HEAD", path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("path", [*PUBLIC, "/v1/purchase", "/v1/validate", "/v1/machines/activate", "/v1/redeem"])
def test_every_origin_may_call_the_public_routes(api, fake_shop, path):
    asked = {
        "Origin": "https://shop.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, idempotency-key",
    }
    allowed = api.call("OPTIONS", path, headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "*"
    answer = api.call("GET", path, headers={"Origin": "https://shop.example.com"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/v1/admin/products", "/v1/btcpay/webhook/x", "/metrics"])
def test_no_origin_may_call_the_others(api, fake_shop, path):
    answer = api.call("GET", path, headers={"Origin": "https://shop.example.com"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_programs_in_browsers_can_read_that_a_request_is_too_large(api, fake_shop):
    answer = api.call(
        "POST", "/v1/validate", data=b"x" * (MAX_BYTES + 1), headers={"Origin": "https://shop.example.com"}
    )
    purchase = api.call("POST", "/v1/purchase", data=b"x" * (MAX_BYTES + 1), headers={"Origin": "https://shop.example"})
    assert purchase.status_code == 413
    assert answer.headers["Access-Control-Allow-Origin"] == purchase.headers["Access-Control-Allow-Origin"] == "*"
