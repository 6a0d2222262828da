"""`keysat provider connect`: the webhook is registered, and one is seen to arrive over real HTTP."""

import pytest

from keysat.db import reading
from keysat.embedded.sandbox.client import SandboxClient
from keysat.embedded.sandbox.server import Sandbox
from keysat.models import ProviderEvent
from keysat.secrets import secret_box, unseal
from keysat.settings import load_settings
from keysat.web.app import create_app
from tests.builders import STORE, audit_actions, load_account, make_account
from tests.web.conftest import serving

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")


@pytest.fixture(scope="module")
def web_url(servers):
    with serving(create_app()) as url:
        yield url


@pytest.fixture
def reachable(web_url, monkeypatch):
    """The settings say where the API really is."""
    monkeypatch.setenv("KEYSAT_PUBLIC_URL", web_url)
    load_settings.cache_clear()
    yield web_url
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def shop():
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.register_store(STORE, "key-of-test-store")
        client.url = server.url
        yield client


@pytest.fixture
def account(shop):
    return make_account(kind="btcpay", base_url=shop.url)


def secret_of(account_name="main"):
    account = load_account(account_name)
    return unseal(secret_box(load_settings()), account.sealed_credentials, account_name)["webhook_secret"]


def events():
    with reading() as session:
        return session.query(ProviderEvent).count()


def test_webhook_is_registered_and_seen_to_arrive(keysat, account, reachable, shop):
    done = keysat("provider", "connect", "main")
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "main: a webhook arrived; paid invoices get their licenses at once"
    assert secret_of() not in done.err + done.out
    assert events() == 1
    assert load_account().webhook_connected_at is not None
    assert audit_actions(account.id)[-1] == "provider.connected"
    assert "the last webhook came at" in keysat("provider", "test", "main").err


def test_connecting_again_changes_the_webhook_that_is_there_and_keeps_its_secret(keysat, account, reachable):
    keysat("provider", "connect", "main")
    first = secret_of()
    assert keysat("provider", "connect", "main").code == 0
    assert secret_of() == first
    assert keysat("provider", "connect", "main", "--new-secret").code == 0
    assert secret_of() != first
    assert len(secret_of()) >= 43


def test_webhook_that_does_not_arrive_is_told_with_the_likely_reasons(keysat, account, monkeypatch):
    monkeypatch.setenv("KEYSAT_PUBLIC_URL", "http://127.0.0.1:9")
    load_settings.cache_clear()
    try:
        refusal = keysat("provider", "connect", "main", "--wait", "1").refusal
    finally:
        monkeypatch.undo()
        load_settings.cache_clear()
    assert "no webhook of main came within 1 s: is http://127.0.0.1:9 reachable" in refusal
    assert "KEYSAT_PUBLIC_URL" in refusal


def test_key_without_the_permission_is_told_which_one_it_needs_and_the_account_goes_on(
    keysat, account, reachable, shop
):
    shop.set_faults([{"kind": "status", "status": 403, "path_prefix": f"/api/v1/stores/{STORE}/webhooks"}])
    refusal = keysat("provider", "connect", "main").refusal
    assert "btcpay.store.webhooks.canmodifywebhooks" in refusal
    assert load_account().paused_at is None


@pytest.mark.parametrize(
    ("public_url", "warning"),
    [
        ("", "means this machine only; set KEYSAT_PUBLIC_URL"),
        ("http://license.example.com", "has no TLS"),
        ("https://license.example.com", None),
    ],
)
def test_address_that_a_remote_provider_can_not_use_is_warned_of(public_url, warning):
    from keysat.cli.connect import _warnings

    told = _warnings(public_url or "http://127.0.0.1:8000", "https://btcpay.example.com")
    assert [warning in one for one in told] == ([True] if warning else [])
    assert _warnings("http://127.0.0.1:8000", "http://127.0.0.1:8900") == []


def test_unknown_account_is_refused(keysat):
    assert "no provider account nobody" in keysat("provider", "connect", "nobody").refusal
