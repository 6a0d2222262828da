"""`POST /v1/licenses/file` and `POST /v1/machines/file`: files for programs without a network, by key."""

from datetime import datetime

import pytest

from keysat.catalog.products import Terms
from keysat.core.db import transaction
from keysat.licenses.withdraw import change_status
from keysat.models.license import LicenseStatus
from tests.builders import make_license
from tests.examples import load_example

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_license_file")
HOUR, MONTH = 3_600, 30 * 86_400


@pytest.fixture
def row():
    return make_license(terms=Terms(max_machines=2))


@pytest.fixture
def key(row, signer):
    return signer.key_for(row)


def test_key_gets_a_license_file(api, row, key):
    got = api.post("/v1/licenses/file", {"key": f"License key: {key}"}).json()
    assert got["ok"] is True
    assert got["ttl"] == MONTH
    span = datetime.fromisoformat(got["expiry"]) - datetime.fromisoformat(got["issued"])
    assert span.total_seconds() == MONTH
    content = EXAMPLE.read_file(got["certificate"], api.get("/v1/pubkey").json()["public_key_pem"], "license")
    assert content["data"]["id"] == str(row.id)


def test_machine_gets_a_file_once_it_has_a_seat(api, key, signer):
    body = {"key": key, "fingerprint": "laptop", "ttl": HOUR}
    assert api.post("/v1/machines/file", body).json() == {"ok": False, "reason": "not_found"}
    api.post("/v1/machines/activate", body)
    got = api.post("/v1/machines/file", body).json()
    content = EXAMPLE.read_file(got["certificate"], signer.public_key_pem, "machine", fingerprint="laptop")
    assert content["data"]["attributes"]["fingerprint"] == "laptop"
    assert got["ttl"] == HOUR


@pytest.mark.parametrize("path", ["/v1/licenses/file", "/v1/machines/file"])
def test_refusal_has_its_reason_and_no_file(api, row, key, path):
    asked = {"fingerprint": "laptop"}
    assert api.post(path, {"key": "nonsense", **asked}).json() == {"ok": False, "reason": "bad_format"}
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.SUSPENDED, "cli", "because")
    assert api.post(path, {"key": key, **asked}).json() == {"ok": False, "reason": "suspended"}


@pytest.mark.parametrize("ttl", [0, HOUR - 1, 366 * 86_400 + 1, "a while"])
def test_time_to_live_has_limits(api, key, ttl):
    assert "ttl" in api.post("/v1/licenses/file", {"key": key, "ttl": ttl}).json()["message"]


def test_machine_file_needs_a_fingerprint(api, key):
    assert "fingerprint" in api.post("/v1/machines/file", {"key": key}).json()["message"]


def test_requests_are_limited_as_validations(api, key, setting):
    setting(KEYSAT_RATE_VALIDATE="2/hour")
    statuses = [api.post("/v1/licenses/file", {"key": key}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
