"""Limits on requests: whose they are, and that they hold without the broker."""

import pytest
from fastapi import Request

from keysat.cli.doctor import noticed
from keysat.core.errors import RateLimited
from keysat.core.settings import load_settings
from keysat.web import limits
from keysat.web.app import create_app
from tests.builders import make_shop
from tests.nodes import wait_until
from tests.serving import serving
from tests.web.conftest import Api


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
    for context in running:
        context.__exit__(None, None, None)
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


def asked_from(*addresses):
    return [Request({"type": "http", "client": (address, 1)}) for address in addresses]


@pytest.mark.usefixtures("servers")
def test_addresses_of_one_ipv6_site_have_a_limit_together():
    rate, refused = "2/hour", 0
    for request in asked_from(*(f"2001:db8:7:{number:x}::1" for number in range(100))):
        try:
            limits.admit_client(rate, "site", request)
        except RateLimited:
            refused += 1
    assert refused == 100 - 2 * limits._SITE_FACTOR


@pytest.mark.usefixtures("servers")
def test_neighbors_in_a_64_are_one_and_other_sites_are_not():
    first, neighbor, elsewhere = asked_from("2001:db8:8:1::1", "2001:db8:8:1::2", "2001:db8:9:1::1")
    for request in (first, neighbor, elsewhere):
        limits.admit_client("2/hour", "neighbors", request)
    with pytest.raises(RateLimited):
        limits.admit_client("2/hour", "neighbors", neighbor)


@pytest.mark.usefixtures("empty_broker")
def test_forwarded_for_of_untrusted_proxy(changed, settings, capsys):
    """One warning is logged, and a notice is set."""
    client = Api(changed(KEYSAT_TRUSTED_PROXIES="10.0.0.1"))
    for _ in range(3):
        client.get("/v1/pubkey", headers={"X-Forwarded-For": "203.0.113.7"})
    client.close()
    wait_until(lambda: not {found.what: found for found in noticed(settings)}["trusted proxies"].ok)
    assert "127.0.0.1" in {found.what: found.detail for found in noticed(settings)}["trusted proxies"]
    said = capsys.readouterr()
    assert (said.out + said.err).count("untrusted proxy") == 1
