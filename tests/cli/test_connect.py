"""`keysat provider connect` at a sandbox over real HTTP: registered, tested, and told why where nothing arrives."""

from datetime import UTC, datetime

import pytest
import requests

from keysat.accounts.connect import doubt
from keysat.core.secrets import secret_box, unseal
from keysat.core.settings import load_settings
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.web.app import create_app
from tests.builders import SECRET, STORE, audit_actions, load_account, make_account
from tests.web.conftest import serving

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")

KEY = "key-of-test-store"
CONNECT = ["provider", "connect", "main"]


@pytest.fixture
def public_url(monkeypatch):
    """Sets where Keysat says that it is reached."""

    def put(url):
        monkeypatch.setenv("KEYSAT_PUBLIC_URL", url)
        load_settings.cache_clear()

    yield put
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture(scope="module")
def served(servers):
    with serving(create_app()) as url:
        yield url


@pytest.fixture
def web_url(served, public_url):
    """Where the API is served, as Keysat says."""
    public_url(served)
    return served


@pytest.fixture
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client(sandbox):
    with SandboxClient(sandbox.url) as client:
        client.register_store(STORE, KEY)
        client.register_store("organization", KEY, kind="zaprite")
        client.register_store("merchant", KEY, kind="opennode")
        yield client


@pytest.fixture
def account(sandbox, client):
    make_account(kind="btcpay", base_url=sandbox.url)
    return load_account()


@pytest.fixture
def account_by_hand(sandbox, client):
    """One of a kind whose webhooks can only be entered by hand."""
    make_account(kind="zaprite", base_url=sandbox.url, store_id="")
    return load_account()


def stored_secret(settings):
    return unseal(secret_box(settings), load_account().sealed_credentials, "main")["webhook_secret"]


def registered(sandbox):
    return sandbox.ledger.store(STORE).webhooks


def test_webhook_is_registered_and_its_arrival_is_told(keysat, sandbox, account, web_url, settings):
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert finished.out == f"{web_url}/v1/btcpay/webhook/{account.id}\n"
    assert "main: a webhook came" in finished.err
    assert "careful" not in finished.err
    [webhook] = registered(sandbox)
    assert (webhook.url, webhook.secret) == (finished.out.strip(), stored_secret(settings))
    now, later = datetime.now(UTC), load_account()
    assert later.webhook_connected_at <= later.last_event_at <= now
    assert audit_actions(account.id) == ["provider.added", "provider.sells", "provider.webhook_connected"]


def test_test_invoice_is_tiny_says_what_it_is_and_is_no_invoice_of_ours(keysat, sandbox, client, account, web_url):
    keysat(*CONNECT)
    [entry] = client.ledger()["invoices"]
    assert entry["order_id"].startswith("keysat-webhook-test-")
    assert (entry["amount"], entry["currency"]) == ("0.00001000", "BTC")
    assert "test" in sandbox.ledger.find(entry["id"]).draft.metadata["itemDesc"]
    assert keysat("invoice", "list", "--json").json == []


def test_account_without_a_secret_gets_one_that_is_never_shown(keysat, sandbox, client, web_url, settings):
    added = ["--url", sandbox.url, "--store", STORE]
    assert keysat("provider", "add", "main", *added, stdin=KEY).code == 0
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert len(stored_secret(settings)) == 43
    assert stored_secret(settings) not in finished.out + finished.err
    assert "provider.webhook_secret_made" in audit_actions(load_account().id)


def test_connecting_again_keeps_the_secret_and_the_one_webhook(keysat, sandbox, account, web_url, settings):
    for _ in range(2):
        assert keysat(*CONNECT).code == 0
        assert stored_secret(settings) == SECRET
    assert len(registered(sandbox)) == 1


def test_new_secret_replaces_the_old_one_on_both_sides(keysat, sandbox, account, web_url, settings):
    keysat(*CONNECT)
    assert keysat(*CONNECT, "--new-secret").code == 0
    assert stored_secret(settings) != SECRET
    assert [webhook.secret for webhook in registered(sandbox)] == [stored_secret(settings)]


def test_webhook_that_does_not_arrive_is_told_with_the_likely_reasons(keysat, client, account, web_url):
    client.set_webhooks(drop=1.0)
    finished = keysat(*CONNECT, "--wait", "1")
    assert finished.code == 1
    assert "no webhook of main came within 1 s" in finished.err
    for reason in (f"`curl {web_url}/v1/pubkey`", "web server run", "firewall", "`keysat provider connect main`"):
        assert reason in finished.err
    assert load_account().webhook_connected_at is not None
    assert "none came yet" in keysat("provider", "test", "main").err


def test_webhook_about_something_else_proves_nothing_of_the_new_registration(keysat, client, account, web_url):
    keysat(*CONNECT)
    client.set_webhooks(drop=1.0)
    assert keysat(*CONNECT, "--wait", "1").code == 1


def test_key_without_the_permission_is_told_which_and_the_account_is_not_paused(keysat, client, account, web_url):
    refusal = {"kind": "status", "status": 403, "path_prefix": f"/api/v1/stores/{STORE}/webhooks"}
    client.set_faults([refusal])
    assert "btcpay.store.webhooks.canmodifywebhooks" in keysat(*CONNECT).refusal
    later = load_account()
    assert (later.paused_at, later.webhook_connected_at) == (None, None)


def test_provider_that_is_down_leaves_the_account_unconnected_with_its_new_secret(
    keysat, sandbox, account, web_url, settings
):
    sandbox.stop()
    assert "refuses connections" in keysat(*CONNECT, "--new-secret").refusal
    assert load_account().webhook_connected_at is None
    assert stored_secret(settings) != SECRET


def test_unknown_account_is_refused(keysat, web_url):
    assert "no provider account nothing" in keysat("provider", "connect", "nothing").refusal


def test_kind_that_can_not_register_by_itself_prints_the_secret_url_to_enter_by_hand(
    keysat, client, account_by_hand, web_url
):
    finished = keysat(*CONNECT, "--wait", "1")
    assert finished.code == 1
    assert finished.out == f"{web_url}/v1/zaprite/webhook/{load_account().id}/{SECRET}\n"
    assert "this URL is secret" in finished.err
    assert "by hand" in finished.err
    assert SECRET not in finished.err
    assert "keysat provider test main" in finished.err
    assert client.ledger()["invoices"] == []
    assert load_account().webhook_connected_at is None


def test_first_webhook_of_one_entered_by_hand_connects_it(keysat, account_by_hand, web_url):
    url = keysat(*CONNECT, "--wait", "1").out.strip()
    assert requests.post(url, json={"event": "order.change", "data": {"id": "theirs"}}, timeout=120).status_code == 200
    assert load_account().webhook_connected_at is not None
    assert "the last one came" in keysat("provider", "test", "main").err


@pytest.fixture
def account_with_callbacks(sandbox, client):
    """One of a kind whose invoices carry their webhook's URL."""
    make_account(kind="opennode", base_url=sandbox.url, store_id="")
    return load_account()


def test_kind_with_a_url_in_each_invoice_needs_no_registration(keysat, client, account_with_callbacks, web_url):
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert finished.out == f"{web_url}/v1/opennode/webhook/{account_with_callbacks.id}\n"
    assert "main: nothing needs registering" in finished.err
    assert client.ledger()["invoices"] == []
    assert load_account().webhook_connected_at is None
    tested = keysat("provider", "test", "main").err
    assert "accepts the credentials" in tested
    assert "webhooks need no registration, since each invoice carries our URL; none came yet" in tested


def test_kind_that_signs_with_the_api_key_has_no_secret_to_renew(keysat, account_with_callbacks, web_url):
    refusal = keysat(*CONNECT, "--new-secret").refusal
    assert "an opennode provider can't have a webhook secret of ours" in refusal


def test_provider_test_tells_of_the_webhooks(keysat, sandbox, account, web_url):
    assert "no webhook is connected" in keysat("provider", "test", "main").err
    keysat(*CONNECT)
    assert "webhooks are connected since" in keysat("provider", "test", "main").err


def test_public_url_that_a_provider_elsewhere_can_not_reach_is_warned_of(keysat, fake):
    make_account()
    assert "careful: only this machine can reach http://127.0.0.1:8000" in keysat(*CONNECT, "--wait", "1").err


@pytest.mark.parametrize(
    ("ours", "theirs", "warned"),
    [
        ("https://license.example.com", "https://btcpay.example.com", None),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8900", None),
        ("http://127.0.0.1:8000", "http://localhost:8900", None),
        ("http://127.0.0.1:8000", "https://btcpay.example.com", "only this machine can reach"),
        ("http://localhost:8000", "https://btcpay.example.com", "only this machine can reach"),
        ("http://0.0.0.0:8000", "https://btcpay.example.com", "only this machine can reach"),
        ("https://[::1]", "https://btcpay.example.com", "only this machine can reach"),
        ("http://license.example.com", "https://btcpay.example.com", "can be read and changed on their way"),
    ],
)
def test_doubts_are_about_what_a_provider_elsewhere_meets(ours, theirs, warned):
    found = doubt(ours, theirs)
    assert found is None if warned is None else warned in str(found)
