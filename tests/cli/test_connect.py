"""`keysat provider connect` at a sandbox over real HTTP: registration, test, and the reasons if nothing arrives."""

from datetime import UTC, datetime

import pytest
import requests

from keysat.accounts.connect import doubt
from keysat.core.secrets import secret_box, unseal
from keysat.core.settings import load_settings
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.builders import SECRET, STORE, audit_actions, load_account, make_account

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")

KEY = "key-of-test-store"
CONNECT = ["provider", "connect", "main"]


@pytest.fixture
def public_url(monkeypatch):
    """Sets Keysat's public URL."""

    def put(url):
        monkeypatch.setenv("KEYSAT_PUBLIC_URL", url)
        load_settings.cache_clear()

    yield put
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def web_url(web_url, public_url):
    """Where the API is served, which is also Keysat's public URL."""
    public_url(web_url)
    return web_url


@pytest.fixture
def sandbox_server():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_server):
    with SandboxClient(sandbox_server.url) as client:
        client.register_store(STORE, KEY)
        client.register_store("organization", KEY, kind="zaprite")
        client.register_store("merchant", KEY, kind="opennode")
        yield client


@pytest.fixture
def account(sandbox_server, sandbox):
    make_account(kind="btcpay", base_url=sandbox_server.url)
    return load_account()


@pytest.fixture
def account_by_hand(sandbox_server, sandbox):
    """One of a kind whose webhooks can only be entered by hand."""
    make_account(kind="zaprite", base_url=sandbox_server.url, store_id="")
    return load_account()


def stored_secret(settings):
    return unseal(secret_box(settings), load_account().sealed_credentials, "main")["webhook_secret"]


def registered(sandbox):
    return sandbox.ledger.store(STORE).webhooks


def test_connect_reports_the_webhooks_arrival(keysat, sandbox_server, account, web_url, settings):
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert finished.out == f"{web_url}/v1/btcpay/webhook/{account.id}\n"
    assert "main: a webhook arrived" in finished.err
    assert "careful" not in finished.err
    [webhook] = registered(sandbox_server)
    assert (webhook.url, webhook.secret) == (finished.out.strip(), stored_secret(settings))
    now, later = datetime.now(UTC), load_account()
    assert later.webhook_connected_at <= later.last_event_at <= now
    assert audit_actions(account.id) == ["provider.added", "provider.sells", "provider.webhook_connected"]


def test_connect_test_invoice(keysat, sandbox_server, sandbox, account, web_url):
    """The test invoice is tiny, describes itself, and has no row."""
    keysat(*CONNECT)
    [entry] = sandbox.ledger()["invoices"]
    assert entry["order_id"].startswith("keysat-webhook-test-")
    assert (entry["amount"], entry["currency"]) == ("0.00001000", "BTC")
    assert "test" in sandbox_server.ledger.find(entry["id"]).draft.metadata["itemDesc"]
    assert keysat("invoice", "list", "--json").json == []


def test_account_without_a_secret_gets_one_that_is_never_shown(keysat, sandbox_server, sandbox, web_url, settings):
    added = ["--url", sandbox_server.url, "--store", STORE]
    assert keysat("provider", "add", "main", *added, stdin=KEY).code == 0
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert len(stored_secret(settings)) == 43
    assert stored_secret(settings) not in finished.out + finished.err
    assert "provider.webhook_secret_made" in audit_actions(load_account().id)


def test_connecting_again_keeps_the_secret_and_the_one_webhook(keysat, sandbox_server, account, web_url, settings):
    for _ in range(2):
        assert keysat(*CONNECT).code == 0
        assert stored_secret(settings) == SECRET
    assert len(registered(sandbox_server)) == 1


def test_new_secret_replaces_the_old_one_on_both_sides(keysat, sandbox_server, account, web_url, settings):
    keysat(*CONNECT)
    assert keysat(*CONNECT, "--new-secret").code == 0
    assert stored_secret(settings) != SECRET
    assert [webhook.secret for webhook in registered(sandbox_server)] == [stored_secret(settings)]


def test_connect_webhook_missing(keysat, sandbox, account, web_url):
    """The report names the likely reasons."""
    sandbox.set_webhooks(drop=1.0)
    finished = keysat(*CONNECT, "--wait", "1")
    assert finished.code == 1
    assert "no webhook of main arrived within 1 s" in finished.err
    for reason in (f"`curl {web_url}/v1/pubkey`", "web server run", "firewall", "`keysat provider connect main`"):
        assert reason in finished.err
    assert load_account().webhook_connected_at is not None
    assert "none arrived yet" in keysat("provider", "test", "main").err


def test_connect_unrelated_webhook(keysat, sandbox, account, web_url):
    """A webhook about another object doesn't confirm the new registration."""
    keysat(*CONNECT)
    sandbox.set_webhooks(drop=1.0)
    assert keysat(*CONNECT, "--wait", "1").code == 1


def test_connect_missing_permission(keysat, sandbox, account, web_url):
    """The error names the missing permission, and the account is not paused."""
    refusal = {"kind": "status", "status": 403, "path_prefix": f"/api/v1/stores/{STORE}/webhooks"}
    sandbox.set_faults([refusal])
    assert "btcpay.store.webhooks.canmodifywebhooks" in keysat(*CONNECT).refusal
    later = load_account()
    assert (later.paused_at, later.webhook_connected_at) == (None, None)


def test_connect_provider_down(keysat, sandbox_server, account, web_url, settings):
    """The account stays unconnected and has its new secret."""
    sandbox_server.stop()
    assert "refuses connections" in keysat(*CONNECT, "--new-secret").refusal
    assert load_account().webhook_connected_at is None
    assert stored_secret(settings) != SECRET


def test_unknown_account_is_refused(keysat, web_url):
    assert "no provider account nothing" in keysat("provider", "connect", "nothing").refusal


def test_connect_manual_kind_prints_url(keysat, sandbox, account_by_hand, web_url):
    """A kind without registration prints the secret URL to enter by hand."""
    finished = keysat(*CONNECT, "--wait", "1")
    assert finished.code == 1
    assert finished.out == f"{web_url}/v1/zaprite/webhook/{load_account().id}/{SECRET}\n"
    assert "this URL is secret" in finished.err
    assert "by hand" in finished.err
    assert SECRET not in finished.err
    assert "keysat provider test main" in finished.err
    assert sandbox.ledger()["invoices"] == []
    assert load_account().webhook_connected_at is None


def test_first_webhook_of_one_entered_by_hand_connects_it(keysat, account_by_hand, web_url):
    url = keysat(*CONNECT, "--wait", "1").out.strip()
    assert requests.post(url, json={"event": "order.change", "data": {"id": "theirs"}}, timeout=120).status_code == 200
    assert load_account().webhook_connected_at is not None
    assert "the last one arrived" in keysat("provider", "test", "main").err


@pytest.fixture
def account_with_callbacks(sandbox_server, sandbox):
    """One of a kind whose invoices carry their webhook's URL."""
    make_account(kind="opennode", base_url=sandbox_server.url, store_id="")
    return load_account()


def test_kind_with_a_url_in_each_invoice_needs_no_registration(keysat, sandbox, account_with_callbacks, web_url):
    finished = keysat(*CONNECT)
    assert finished.code == 0, finished.err
    assert finished.out == f"{web_url}/v1/opennode/webhook/{account_with_callbacks.id}\n"
    assert "main: nothing needs registering" in finished.err
    assert sandbox.ledger()["invoices"] == []
    assert load_account().webhook_connected_at is None
    tested = keysat("provider", "test", "main").err
    assert "accepts the credentials" in tested
    assert "webhooks need no registration, since each invoice carries our URL; none arrived yet" in tested


def test_kind_that_signs_with_the_api_key_has_no_secret_to_renew(keysat, account_with_callbacks, web_url):
    refusal = keysat(*CONNECT, "--new-secret").refusal
    assert "an opennode provider can't have a webhook secret of ours" in refusal


def test_provider_test_reports_webhooks(keysat, sandbox_server, account, web_url):
    assert "no webhook is connected" in keysat("provider", "test", "main").err
    keysat(*CONNECT)
    assert "webhooks are connected since" in keysat("provider", "test", "main").err


def test_connect_unreachable_public_url(keysat, fake):
    """A warning names a public URL that a remote provider can't reach."""
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
