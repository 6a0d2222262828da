"""Limits on requests: whose they are, and that they hold without the broker."""

import pytest

from keysat.settings import load_settings
from keysat.web.app import create_app
from tests.builders import make_shop
from tests.web.conftest import Api, serving


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
