"""Whatever is sent, the answer has the contract's shape, and what is refused has changed nothing."""

import itertools
import json

import pytest
from sqlalchemy import func, select

from keysat.api_keys import create_key
from keysat.db import Base, reading, transaction
from keysat.models import Invoice, Product
from keysat.models.api_key import Scope
from keysat.settings import load_settings
from keysat.web.app import create_app
from tests.builders import make_shop
from tests.web.conftest import Api, serving

NOWHERE = "01a21076-4515-7464-8cda-93e2d050f870"
FILLED_IN = {"slug": "editor", "policy": "standard", "name": "main", "code": "GIFT", "kind": "fake", "token": "t"}
DESCRIBED = create_app().openapi()
SQL = "'; DROP TABLE invoices; --"
HTML = "<script>alert(1)</script>"


def operations(*methods):
    """Every route of these methods, as (method, path, its description)."""
    for path, of in DESCRIBED["paths"].items():
        filled_in = path
        for part in path.split("{")[1:]:
            name = part.split("}")[0]
            filled_in = filled_in.replace("{" + name + "}", FILLED_IN.get(name, NOWHERE))
        for method, operation in of.items():
            if method.upper() in methods:
                yield pytest.param(method.upper(), filled_in, operation, id=f"{method} {path}")


def schema_of(operation):
    """The JSON Schema of a route's body, or None where it takes none."""
    body = operation.get("requestBody")
    if body is None:
        return None
    reference = body["content"]["application/json"]["schema"]["$ref"]
    return DESCRIBED["components"]["schemas"][reference.rpartition("/")[2]]


WRITING = list(operations("POST", "PUT", "PATCH", "DELETE"))
WITH_BODY = [one for one in WRITING if schema_of(one.values[2]) is not None]
ADMIN = [one for one in operations("GET", "POST", "PUT", "PATCH", "DELETE") if "/v1/admin/" in one.values[1]]


@pytest.fixture(scope="module")
def module_api(web_url):
    client = Api(web_url)
    yield client
    client.close()


@pytest.fixture
def shop(empty_database, fake):
    make_shop()
    with transaction() as session:
        return {scope: {"Authorization": f"Bearer {create_key(session, scope, scope)}"} for scope in Scope}


def rows():
    """How many rows each table has; that a key was used is no change."""
    with reading() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables
        }


def test_there_is_something_to_try():
    assert len(WITH_BODY) > 15
    assert len(ADMIN) >= 35


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_bodies_that_are_no_such_json_are_refused_and_change_nothing(module_api, shop, method, path, operation):
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
        headers = {"Content-Type": "application/json", **shop[Scope.WRITE]}
        status = module_api.call(method, path, data=body, headers=headers).status_code
        assert status in {400, 404}, (what, status)
    too_large = b'{"note": "' + b"x" * 65_536 + b'"}'
    assert module_api.call(method, path, data=too_large, headers=shop[Scope.WRITE]).status_code == 413
    assert rows() == before


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_fields_of_another_type_or_out_of_range_are_refused(module_api, shop, method, path, operation):
    before, schema = rows(), schema_of(operation)
    wrong = [{}, [[]], {"a": 1}, 2**63, -(2**70), 1e400, "\x00", "x" * 60_000]
    for name, value in itertools.product(schema["properties"], wrong):
        if name == "key" and isinstance(value, str):
            continue  # any text may be asked about: it is no license key, which is an answer
        text = json.dumps({name: value}).replace("Infinity", "1e400")
        headers = {"Content-Type": "application/json", **shop[Scope.WRITE]}
        status = module_api.call(method, path, data=text.encode(), headers=headers).status_code
        assert status in {400, 404}, (name, value, status)
    assert rows() == before


@pytest.mark.parametrize("text", [SQL, HTML, "%s %(id)s {0} \\ \u202e ünïcödé 🔑"])
def test_texts_are_kept_as_they_are_and_executed_nowhere(api, shop, text):
    key = shop[Scope.WRITE]
    made = api.post(
        "/v1/admin/products", {"slug": "odd", "name": text, "price_amount": 1, "description": text}, headers=key
    )
    assert (made.status_code, made.json()["name"], made.json()["description"]) == (201, text, text)
    bought = api.post("/v1/purchase", {"product": "editor", "buyer_note": text})
    found = api.get("/v1/admin/invoices", params={"id": bought.json()["invoice_id"]}, headers=key).json()
    assert found[0]["buyer_note"] == text
    for parameter in ("id", "email"):
        assert api.get("/v1/admin/invoices", params={parameter: text}, headers=key).json() == []
    validated = api.post("/v1/validate", {"key": text, "product_slug": text, "fingerprint": text, "hostname": text})
    assert validated.json()["reason"] == "bad_format"
    with reading() as session:
        assert session.scalars(select(Product.name).where(Product.slug == "odd")).one() == text
        assert session.scalar(select(func.count()).select_from(Invoice)) == 1


@pytest.mark.parametrize(("method", "path", "operation"), ADMIN)
def test_admin_routes_by_role(module_api, shop, method, path, operation):
    before = rows()
    for headers in ({}, {"Authorization": "Bearer ksk_wrong"}, {"Authorization": "Basic b3BzOnNlY3JldA=="}):
        refused = module_api.call(method, path, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    with_read_key = module_api.call(method, path, headers=shop[Scope.READ], json={} if method != "GET" else None)
    assert (with_read_key.status_code == 403) == (method != "GET"), with_read_key.text
    assert with_read_key.status_code in {200, 403, 404}
    assert rows() == before


@pytest.fixture
def changed(monkeypatch, servers):
    """Serves the API with settings of its own."""
    running = []

    def serve(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        running.append(serving(create_app()))
        return running[-1].__enter__()

    yield serve
    for one in running:
        one.__exit__(None, None, None)
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.mark.usefixtures("empty_database", "empty_broker")
@pytest.mark.parametrize(("proxies", "counted_apart"), [("", False), ("10.0.0.0/8", False), ("127.0.0.0/8", True)])
def test_forwarded_for_counts_from_listed_proxies_only(changed, fake, proxies, counted_apart):
    make_shop()
    client = Api(changed(KEYSAT_TRUSTED_PROXIES=proxies, KEYSAT_RATE_PURCHASE="2/minute"))
    answers = [
        client.post("/v1/purchase", {"product": "editor"}, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        for number in range(4)
    ]
    client.close()
    statuses = [answer.status_code for answer in answers]
    assert statuses == ([200] * 4 if counted_apart else [200, 200, 429, 429])
    if not counted_apart:
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


@pytest.mark.usefixtures("empty_database", "empty_broker")
def test_guessing_api_keys_is_limited(changed):
    client = Api(changed(KEYSAT_RATE_ADMIN="3/minute"))
    wrong = {"Authorization": "Bearer ksk_wrong"}
    statuses = [client.get("/v1/admin/products", headers=wrong).status_code for _ in range(5)]
    client.close()
    assert statuses == [401, 401, 401, 429, 429]


@pytest.mark.usefixtures("empty_database")
def test_limits_hold_in_each_process_while_the_broker_is_away(changed, fake):
    make_shop()
    client = Api(changed(KEYSAT_RATE_PURCHASE="2/minute", BROKER_URL="redis://127.0.0.1:9/0"))
    statuses = [client.post("/v1/purchase", {"product": "editor"}).status_code for _ in range(4)]
    client.close()
    assert statuses.count(429) >= 1
    assert statuses[0] == 200
