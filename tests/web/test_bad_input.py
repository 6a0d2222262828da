"""Every response has the contract's shape, and a refused request changes nothing."""

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.models import Invoice, Product
from keysat.models.api_key import Scope
from tests.web.described import ADMIN, TEXTS, WITH_BODY, rows


def test_there_is_something_to_try():
    assert len(WITH_BODY) > 15
    assert len(ADMIN) >= 35


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_bodies_that_are_no_such_json_are_refused_and_change_nothing(
    module_api, scope_headers, method, path, operation
):
    before = rows()
    bodies = {
        "nothing": b"",
        "no JSON": b"{not json",
        "a list": b"[]",
        "a text": b'"text"',
        "null": b"null",
        "nested deeply": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "no UTF-8": b'{"product": "\xff\xfe"}',
        "half a surrogate": b'{"product": "\\ud800", "name": "\\ud800", "note": "\\ud800", "key": "\\ud800"}',
        "unknown fields": b'{"surprise": 1}',
        "a number that never ends": b'{"amount": ' + b"9" * 5_000 + b"}",
    }
    for what, body in bodies.items():
        headers = {"Content-Type": "application/json", **scope_headers[Scope.WRITE]}
        status = module_api.call(method, path, data=body, headers=headers).status_code
        assert status in ({200} if path == "/v1/validate" else {400, 404}), (what, status)
    too_large = b'{"note": "' + b"x" * 65_536 + b'"}'
    status = module_api.call(method, path, data=too_large, headers=scope_headers[Scope.WRITE]).status_code
    assert status == (200 if path == "/v1/validate" else 413)
    assert rows() == before


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_kept_as_they_are_and_executed_nowhere(api, scope_headers, text):
    key = scope_headers[Scope.WRITE]
    made = api.post(
        "/v1/admin/products", {"slug": "odd", "name": text, "price_amount": 1, "description": text}, headers=key
    )
    assert (made.status_code, made.json()["name"], made.json()["description"]) == (201, text, text)
    bought = api.post("/v1/purchase", {"product": "editor", "buyer_note": text})
    invoice_id = bought.json()["invoice_id"].partition(".")[0]
    found = api.get("/v1/admin/invoices", params={"id": invoice_id}, headers=key).json()
    assert found[0]["buyer_note"] == (text.strip() or None)
    for parameter in ("id", "email"):
        assert api.get("/v1/admin/invoices", params={parameter: text}, headers=key).json() == []
    validated = api.post("/v1/validate", {"key": text, "product_slug": text, "fingerprint": text, "hostname": text})
    assert validated.json()["reason"] == "bad_format"
    with reading() as session:
        assert session.scalars(select(Product.name).where(Product.slug == "odd")).one() == text
        assert session.scalar(select(func.count()).select_from(Invoice)) == 1


@pytest.mark.parametrize(("method", "path", "operation"), ADMIN)
def test_admin_routes_by_role(module_api, scope_headers, method, path, operation):
    before = rows()
    for headers in ({}, {"Authorization": "Bearer ksk_wrong"}, {"Authorization": "Basic b3BzOnNlY3JldA=="}):
        refused = module_api.call(method, path, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    with_read_key = module_api.call(
        method, path, headers=scope_headers[Scope.READ], json={} if method != "GET" else None
    )
    assert (with_read_key.status_code == 403) == (method != "GET"), with_read_key.text
    assert with_read_key.status_code in {200, 403, 404}
    assert rows() == before
