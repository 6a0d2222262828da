"""Machines over HTTP: activated, renewed, deactivated, with the published client and without."""

import pytest
from keysat_licensing_client import Client

from keysat.catalog.terms import Terms
from keysat.core.settings import load_settings
from tests.builders import load_machines, make_license

ROUTES = ["activate", "heartbeat", "deactivate"]

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def license_row():
    return make_license(terms=Terms(max_machines=2))


@pytest.fixture
def license_key(signer, license_row):
    return signer.key_for(license_row)


@pytest.fixture
def two_a_minute(monkeypatch):
    monkeypatch.setenv("KEYSAT_RATE_VALIDATE", "2/minute")
    load_settings.cache_clear()
    yield
    monkeypatch.undo()
    load_settings.cache_clear()


def test_machine_lives_its_life(api, license_key, license_row):
    asked = {"key": license_key, "fingerprint": "laptop", "hostname": "lena", "platform": "linux", "reason": "sold"}
    answers = [api.post(f"/v1/machines/{route}", asked).json() for route in (*ROUTES, "heartbeat", "deactivate")]
    [machine] = load_machines(license_row.id)
    known = {"machine_id": str(machine.id), "max_machines": 2}
    assert answers == [
        {"ok": True, **known, "active_count": 1},
        {"ok": True, **known},
        {"ok": True, **known, "active_count": 0},
        {"ok": False, "reason": "not_found", "max_machines": 2},
        {"ok": False, "reason": "not_found", "max_machines": 2, "active_count": 0},
    ]
    assert machine.deactivation_reason == "sold"


def test_published_client_lives_it_too(web_url, license_key):
    client = Client(web_url)
    first = client.activate(license_key, "laptop", hostname="lena", platform="linux")
    again = client.activate(license_key, "laptop")
    assert (first.ok, first.active_count, first.max_machines) == (True, 1, 2)
    assert (again.ok, again.machine_id, again.active_count) == (True, first.machine_id, 1)
    assert client.activate(license_key, "desk").active_count == 2
    full = client.activate(license_key, "tablet")
    assert (full.ok, full.reason, full.active_count, full.max_machines) == (False, "too_many_machines", 2, 2)
    assert client.heartbeat(license_key, "laptop").machine_id == first.machine_id
    assert client.heartbeat(license_key, "tablet").reason == "not_found"
    assert client.deactivate(license_key, "laptop", reason="sold").ok
    assert client.activate(license_key, "tablet").ok
    assert client.validate(license_key, fingerprint="laptop").reason == "too_many_machines"


def test_holder_frees_a_lost_machines_seat(api, license_key):
    lost, desk = (
        api.post("/v1/machines/activate", {"key": license_key, "fingerprint": name, "hostname": name}).json()
        for name in ("lost", "desk")
    )
    pasted = f"License key:\n{license_key[:40]}\n{license_key[40:]}"
    listed = api.post("/v1/machines/list", {"key": pasted}).json()
    assert [row["machine_id"] for row in listed["machines"]] == [lost["machine_id"], desk["machine_id"]]
    assert (listed["ok"], listed["active_count"], listed["releases_left"]) == (True, 2, 6)
    after = api.post(f"/v1/machines/{lost['machine_id']}/deactivate", {"key": license_key}).json()
    assert ([row["hostname"] for row in after["machines"]], after["releases_left"]) == (["desk"], 5)
    again = api.post(f"/v1/machines/{lost['machine_id']}/deactivate", {"key": license_key}).json()
    assert (again["ok"], again["reason"]) == (False, "not_found")
    assert api.post("/v1/machines/list", {"key": "nonsense"}).json() == {"ok": False, "reason": "bad_format"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "change",
    [{"fingerprint": None}, {"fingerprint": ""}, {"reason": "\x00"}, {"key": 1}],
    ids=str,
)
def test_request_of_the_wrong_shape_is_a_bad_request_that_changes_nothing(api, license_key, license_row, route, change):
    assert api.post(f"/v1/machines/{route}", {"key": license_key, "fingerprint": "laptop"} | change).status_code == 400
    assert load_machines(license_row.id) == []


@pytest.mark.parametrize("route", ROUTES)
def test_request_without_a_fingerprint_is_a_bad_request(api, license_key, route):
    assert api.post(f"/v1/machines/{route}", {"key": license_key}).status_code == 400


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("key", "reason"), [("nonsense", "bad_format"), ("", "bad_format")])
def test_text_that_is_no_key_is_answered_with_a_reason(api, route, key, reason):
    answer = api.post(f"/v1/machines/{route}", {"key": key, "fingerprint": "laptop"})
    assert answer.json() == {"ok": False, "reason": reason}


def test_calls_too_many_are_refused_for_a_while(api, license_key, license_row, two_a_minute):
    asked = {"key": license_key, "fingerprint": "laptop"}
    answers = [api.post(f"/v1/machines/{route}", asked) for route in ("activate", "heartbeat", "deactivate")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert load_machines(license_row.id)[0].deactivated_at is None
