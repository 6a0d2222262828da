"""One field is wrong and all else fits: it is refused by name, and what is text is never more than that."""

import json

import jsonschema
import pytest

from keysat.models.api_key import Scope
from tests.web.described import ADMIN, DESCRIBED, SQL, TEXTS, WITH_BODY, name_of, rows, schema_of

BUYER = {"buyer_email": "buyer@example.com", "buyer_note": "thanks", "policy_slug": "standard"}
TEXTS_OF_PRODUCT = {"name": "Another", "description": "It edits."}
TERMS = {
    "name": "Pro",
    "description": "All of it.",
    "duration_seconds": 86_400,
    "grace_seconds": 60,
    "max_machines": 3,
    "is_trial": False,
    "entitlements": ["export"],
    "price_amount": 5,
    "tip_recipient": "dev@example.com",
    "tip_pct_bps": 500,
    "tip_label": "for the compiler",
    "releases_per_seat": 3,
    "is_recurring": True,
    "trial_days": 1,
    "expiry_notice_days": [7],
    "hidden": False,
    "position": 2,
    "bullets": ["Updates for a year"],
}
LIMITS = {
    "max_uses": 5,
    "max_uses_per_buyer": 1,
    "policies": ["standard"],
    "featured": True,
    "expires_at": "2099-01-01T00:00:00Z",
    "description": "For the fair.",
}
# For each body one that its route takes: what is refused below is refused for the one field that is changed.
FITTING = {
    "PurchaseRequest": {
        "product": "editor",
        "redirect_url": "https://shop.example.com/",
        "code": "GIFT",
        "trial": True,
        "fingerprint": "f",
        **BUYER,
    },
    "RedeemRequest": {"product": "editor", "code": "GIFT", **BUYER},
    "RenewRequest": {"license_key": "LIC1-A-B", "redirect_url": "https://shop.example.com/"},
    "CancelRequest": {"license_key": "LIC1-A-B", "reason": "sold"},
    "ValidateRequest": {
        "key": "LIC1-A-B",
        "product_slug": "editor",
        "fingerprint": "f",
        "hostname": "h",
        "platform": "p",
    },
    "MachineRequest": {"key": "LIC1-A-B", "fingerprint": "f", "hostname": "h", "platform": "p", "reason": "sold"},
    "LicenseFileRequest": {"key": "LIC1-A-B", "ttl": 3_600},
    "MachineFileRequest": {"key": "LIC1-A-B", "ttl": 3_600, "fingerprint": "f"},
    "HolderRequest": {"key": "LIC1-A-B", "reason": "sold"},
    "NewProduct": {"slug": "another", "price_amount": 5, "price_currency": "EUR", **TEXTS_OF_PRODUCT},
    "ProductChanges": {
        **TEXTS_OF_PRODUCT,
        "price_amount": 5,
        "price_currency": "BTC",
        "archived": False,
        "account": "main",
        "entitlements_catalog": [{"slug": "export", "name": "Export", "description": "To files."}],
    },
    "NewPolicy": {"slug": "pro", **TERMS},
    "PolicyChanges": {"highlighted": True, "archived": False, **TERMS},
    "CodeRequest": {
        "code": "SAVE",
        "kind": "fixed_sats",
        "amount": 5,
        "currency": "BTC",
        "product": "editor",
        **LIMITS,
    },
    "CodeChanges": LIMITS,
    "Note": {"note": "because"},
    "Grant": {"note": "because", "product": "editor", "policy": "standard", "email": "buyer@example.com"},
    "LicenseChanges": {
        "expires_at": "2099-01-01T00:00:00Z",
        "max_machines": 5,
        "releases_per_seat": 3,
        "entitlements": ["export"],
        "holder_email": "new@example.com",
        "note": "because",
    },
    "Transfer": {"note": "because", "email": "new@example.com"},
    "RecoverRequest": {"invoice_id": "of the provider", "email": "buyer@example.com"},
    "LinkRequest": {"secret": "nonsense"},
    "NewAccount": {
        "name": "second",
        "kind": "btcpay",
        "base_url": "https://pay.example.com",
        "store_id": "s",
        "api_key": "key-of-second-store",
        "webhook_secret": "webhook-secret-of-second-store",
        "is_sandbox": False,
        "ca_pem": None,
        "unchecked": True,
    },
    "AccountChanges": {
        "name": "main",
        "base_url": "https://pay.example.com",
        "store_id": "s",
        "is_sandbox": False,
        "ca_pem": None,
        "unchecked": True,
    },
    "Selling": {"accounts": ["main"]},
    "NewCredentials": {
        "api_key": "key-of-main-store",
        "webhook_secret": "webhook-secret-of-the-main-store",
        "unchecked": True,
    },
    "NewEndpoint": {
        "name": "shop",
        "url": "https://shop.example.com/",
        "event_types": ["license.issued"],
        "secret": "c2VjcmV0IG9mIHRoZSByZWNlaXZlciBvZiB0aGUgc2hvcA==",
        "with_key": True,
    },
    "EndpointChanges": {"url": "https://shop.example.com/", "event_types": [], "with_key": True},
    "Rotation": {"overlap_seconds": 60, "secret": "c2VjcmV0IG9mIHRoZSByZWNlaXZlciBvZiB0aGUgc2hvcA=="},
    "Replay": {
        "endpoint": "shop",
        "event": "license.issued",
        "status": "failed",
        "since": "2026-01-01T00:00:00Z",
        "rate": 5,
        "dry_run": False,
    },
}
# Where a rule of the shop refuses a text, its sentence calls the field so.
NAMES = {"tip_recipient": "lightning address"}
WRONG = [{}, [[]], {"a": 1}, 2**63, -(2**70), 1e400, "\x00", "x" * 60_000]
INSTEAD_OF = {"preimage": "email"}  # a body has only one of them
# Any text may be validated (the result is that it is no license key), and a fingerprint is hashed as received.
TAKEN = [("fingerprint", "\x00")]


def fitting(schema, field):
    """A body that fits, without what the field stands in for."""
    return {name: value for name, value in FITTING[schema].items() if name != INSTEAD_OF.get(field)}


def field_cases(values):
    """Each field of each body, with these values for it."""
    return [
        pytest.param(*case.values[:2], name_of(case.values[2]), field, values, id=f"{case.id} {field}")
        for case in WITH_BODY
        for field in schema_of(case.values[2])["properties"]
    ]


@pytest.mark.parametrize(("method", "path", "schema", "field", "values"), field_cases(WRONG))
def test_field_of_another_type_or_out_of_range_is_refused_and_named(
    module_api, scope_headers, method, path, schema, field, values
):
    """All else in the body fits, so that the one field is what is refused."""
    before = rows()
    for value in values:
        if (field, value) in TAKEN or (field in {"key", "license_key"} and isinstance(value, str)):
            continue
        body = json.dumps({**fitting(schema, field), field: value}).replace("Infinity", "1e400").encode()
        headers = {"Content-Type": "application/json", **scope_headers[Scope.WRITE]}
        refused = module_api.call(method, path, data=body, headers=headers)
        if path == "/v1/validate":
            assert refused.json() == {"ok": False, "reason": "bad_format"}, value
            continue
        assert (refused.status_code, refused.json()["message"].startswith(field)) == (400, True), (value, refused.text)
    assert rows() == before


@pytest.mark.parametrize("schema", FITTING)
def test_bodies_above_fit_but_for_that_field(schema):
    described = DESCRIBED["components"]["schemas"][schema]
    jsonschema.validate(FITTING[schema], {**described, "components": DESCRIBED["components"]})
    assert set(FITTING[schema]) == set(described["properties"]) - INSTEAD_OF.keys()


@pytest.mark.parametrize(("method", "path", "schema", "field", "values"), field_cases(TEXTS))
def test_text_in_any_field_is_data_and_nothing_else(module_api, scope_headers, method, path, schema, field, values):
    """It is refused by its field's name, or accepted as it is. No table loses a row."""
    before = rows()
    for text in values:
        answer = module_api.call(
            method, path, json={**fitting(schema, field), field: text}, headers=scope_headers[Scope.WRITE]
        )
        if answer.status_code == 400:
            assert NAMES.get(field, field.replace("_", " ")) in answer.json()["message"].replace("_", " ").lower()
        else:
            assert answer.status_code in {200, 201, 404, 409}, answer.text
        assert answer.headers["Content-Type"] == "application/json"
    assert {table for table, count in rows().items() if count < before[table]} == set()


TIMES = ["0969-08-01T12:03:10-19:18", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]


@pytest.mark.parametrize("time", TIMES)
def test_time_that_no_table_holds_is_refused_or_brought_to_utc(module_api, scope_headers, time):
    listed = module_api.get("/v1/admin/deliveries", params={"since": time}, headers=scope_headers[Scope.READ])
    code = {**FITTING["CodeRequest"], "expires_at": time}
    added = module_api.post("/v1/admin/codes", code, headers=scope_headers[Scope.WRITE])
    assert listed.status_code in {200, 400}
    assert added.status_code in {201, 400}


WRONG_QUERIES = {
    "limit": ["0", "201", "-1", "many", "1e3", ""],
    "before": ["", "x", "0' OR '1'='1", "-1"],
    "id": [],  # any text may be searched for
    "email": ["\x00"],
    "status": ["paid", "", SQL],
    "account": ["Main!", SQL],
    "review": ["perhaps", ""],
    "product": ["No Slug", SQL],
    "invoice_id": ["x", ""],
    "subject": ["x", "1"],
    "from": ["yesterday", "2026-13-01", SQL],
    "to": ["today", "2026-02-30", SQL],
    "by": ["week", "", SQL],
    "endpoint": ["No Name", SQL],
    "event": ["license", SQL],
    "since": ["yesterday", "2026-01-01T00:00:00", SQL],
}


@pytest.mark.parametrize(("method", "path", "operation"), [case for case in ADMIN if case.values[0] == "GET"])
def test_wrong_values_in_a_query_are_refused_and_named(module_api, scope_headers, method, path, operation):
    names = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    for name in names:
        for value in WRONG_QUERIES[name]:
            refused = module_api.call(method, path, params={name: value}, headers=scope_headers[Scope.READ])
            assert (refused.status_code, refused.json()["message"].startswith(name)) == (400, True), (name, value)
