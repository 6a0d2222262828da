"""Validation over HTTP, as published clients call it: 200 with a reason, unless the request itself is malformed."""

import json
import threading
from datetime import datetime, timedelta

import pytest
from keysat_licensing_client import Client, ValidateOptions
from sqlalchemy import func

from keysat.catalog.terms import Terms
from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.licenses.withdraw import change_status
from keysat.models.license import LicenseStatus
from tests.builders import load_machines, make_license
from tests.web.conftest import Api

MACHINES = 50
ABSURD = "<script>alert('ü')</script>'; DROP TABLE machines; -- ${jndi:ldap://x} %s \U0001f511"

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def license_row():
    return make_license()


@pytest.fixture
def license_key(signer, license_row):
    return signer.key_for(license_row)


@pytest.fixture
def three_a_minute(monkeypatch):
    monkeypatch.setenv("KEYSAT_RATE_VALIDATE", "3/minute")
    load_settings.cache_clear()
    yield
    monkeypatch.undo()
    load_settings.cache_clear()


def test_answer_has_the_contracts_fields(api, signer):
    row = make_license(
        "own", Terms(duration_seconds=86_400, grace_seconds=60, max_machines=2, entitlements=("export",))
    )
    body = {"key": signer.key_for(row), "product_slug": "own", "fingerprint": "laptop", "hostname": "lena"}
    answer = api.post("/v1/validate", body | {"platform": "linux"})
    assert answer.headers["content-type"] == "application/json"
    [machine] = load_machines(row.id)
    assert answer.json() == {
        "ok": True,
        "license_id": str(row.id),
        "product_id": str(row.product_id),
        "product_slug": "own",
        "issued_at": row.issued_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "grace_until": (row.expires_at + timedelta(seconds=60)).isoformat(),
        "in_grace_period": False,
        "is_trial": False,
        "entitlements": ["export"],
        "status": "active",
        "machine_id": str(machine.id),
        "max_machines": 2,
    }
    assert datetime.fromisoformat(answer.json()["issued_at"]).utcoffset() == timedelta(0)


def test_what_is_not_known_is_left_out(api, license_key):
    answer = api.post("/v1/validate", {"key": license_key, "fingerprint": None, "hostname": None}).json()
    assert answer["ok"] is True
    assert not {"reason", "expires_at", "grace_until", "machine_id"} & set(answer)
    assert api.post("/v1/validate", {"key": "nonsense"}).json() == {"ok": False, "reason": "bad_format"}


def test_refusal_has_the_license_and_its_reason(api, license_key, license_row):
    with transaction() as session:
        change_status(session, license_row.id, LicenseStatus.SUSPENDED, "cli", "chargeback")
    answer = api.post("/v1/validate", {"key": license_key, "product_slug": "editor"}).json()
    assert (answer["ok"], answer["reason"], answer["license_id"], answer["status"]) == (
        False,
        "suspended",
        str(license_row.id),
        "suspended",
    )


def test_validate_after_revocation(api, license_key, license_row):
    """A revoked license is refused, although its key was valid just before."""
    assert api.post("/v1/validate", {"key": license_key}).json()["ok"] is True
    with transaction() as session:
        change_status(session, license_row.id, LicenseStatus.REVOKED, "cli", "fraud")
    assert api.post("/v1/validate", {"key": license_key}).json()["reason"] == "revoked"


@pytest.mark.parametrize("product_slug", ["viewer", "Editor", ABSURD])
def test_key_for_another_product_is_a_mismatch(api, license_key, product_slug):
    assert (
        api.post("/v1/validate", {"key": license_key, "product_slug": product_slug}).json()["reason"]
        == "product_mismatch"
    )


@pytest.mark.parametrize("text", ["", "x" * 60_000, "LIC1-A-A", ABSURD, "\x00", "LIC1-" + "é" * 900])
def test_text_that_is_no_key_is_answered_with_a_reason(api, text):
    assert api.post("/v1/validate", {"key": text}).json() == {"ok": False, "reason": "bad_format"}


@pytest.mark.parametrize(
    "fingerprint", ["x", "y" * 1_000, ABSURD, "   ", "\u202e\u200b", "of /etc/machine-id\n", "\x00"]
)
def test_fingerprint_may_be_any_text_and_is_not_stored(api, license_key, license_row, fingerprint):
    answer = api.post("/v1/validate", {"key": license_key, "fingerprint": fingerprint, "hostname": ABSURD}).json()
    [machine] = load_machines(license_row.id)
    assert (answer["ok"], answer["machine_id"], machine.hostname) == (True, str(machine.id), ABSURD)
    assert api.post("/v1/validate", {"key": license_key, "fingerprint": f"{fingerprint[:-1]}?"}).json()["ok"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "x" * 1_001},
        {"fingerprint": 7},
        {"fingerprint": ["laptop"]},
        {"fingerprint": "\ud800"},
        {"hostname": "x" * 501},
        {"hostname": "\x1b[31m"},
        {"platform": {}},
        {"product_slug": 1},
        {"key": None},
        {"key": 1},
        {"key": "\udc00"},
    ],
    ids=str,
)
def test_request_of_the_wrong_shape_is_a_bad_format_that_changes_nothing(api, license_key, license_row, change):
    answer = api.post("/v1/validate", {"key": license_key, "fingerprint": "laptop"} | change)
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "reason": "bad_format"})
    assert load_machines(license_row.id) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"key"', b'{"key": "\xff\xfe"}', b'{"key": NaN}', b"[" * 30_000, b"\x00"],
    ids=["empty", "cut", "list", "null", "text", "bad UTF-8", "NaN", "deep", "zero"],
)
def test_malformed_json_is_a_bad_format(api, body):
    answer = api.post("/v1/validate", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "reason": "bad_format"})


def test_body_beyond_the_cap_is_a_bad_format(api):
    assert api.post("/v1/validate", {"key": "x" * 70_000}).json() == {"ok": False, "reason": "bad_format"}


def test_validate_rate_limited(api, license_key, license_row, three_a_minute):
    """The response has its reason and Retry-After."""
    answers = [api.post("/v1/validate", {"key": license_key}).json()["ok"] for _ in range(3)]
    refused = api.post("/v1/validate", {"key": license_key, "fingerprint": "laptop"})
    assert answers == [True] * 3
    assert (refused.status_code, refused.json()) == (200, {"ok": False, "reason": "rate_limited"})
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert load_machines(license_row.id) == []


def test_fifty_concurrent_machines_bind_one_seat(web_url, license_key, license_row):
    answers, start = [], threading.Barrier(MACHINES)

    def machine(number):
        api = Api(web_url)
        start.wait(timeout=120)
        answers.append(api.post("/v1/validate", {"key": license_key, "fingerprint": f"machine {number}"}).json())
        api.close()

    threads = [threading.Thread(target=machine, args=(number,)) for number in range(MACHINES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    bound = [answer for answer in answers if answer["ok"]]
    refused = [answer["reason"] for answer in answers if not answer["ok"]]
    [seat] = load_machines(license_row.id)
    assert [answer["machine_id"] for answer in bound] == [str(seat.id)]
    assert refused == ["fingerprint_mismatch"] * (MACHINES - 1)


def test_published_client_reads_every_kind_of_answer(web_url, signer):
    client = Client(web_url)
    row = make_license("own", Terms(max_machines=2), expires_at=func.now() - timedelta(hours=1), grace_seconds=7_200)
    key = signer.key_for(row)
    good = client.validate(key, "own", opts=ValidateOptions(fingerprint="laptop", hostname="lena", platform="linux"))
    assert (good.ok, good.in_grace_period, good.max_machines, good.status) == (True, True, 2, "active")
    assert [client.validate(key, "own", fingerprint).reason for fingerprint in ("desk", "tablet")] == [
        None,
        "too_many_machines",
    ]
    assert client.validate(f"{key[:-4]}AAAA").reason == "bad_signature"
    assert client.validate(key.lower()).ok


def test_neither_key_nor_fingerprint_is_logged(api, license_key, caplog):
    with caplog.at_level("DEBUG"):
        api.post("/v1/validate", {"key": license_key, "fingerprint": "fingerprint-of-lena"})
        api.post("/v1/validate", {"key": license_key, "fingerprint": "fingerprint-of-lena", "hostname": "\x00"})
    assert "fingerprint-of-lena" not in caplog.text
    assert license_key not in caplog.text


def test_description_has_request_and_response(api):
    described = api.get("/openapi.json").json()
    operation = described["paths"]["/v1/validate"]["post"]
    assert set(operation["responses"]) == {"200", "400", "413", "503"}
    assert "too_many_machines" in json.dumps(described["components"]["schemas"]["Reason"])
