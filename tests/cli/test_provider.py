"""`keysat provider`: accounts, whose secrets come from stdin, a file or the environment and are never shown."""

import pytest

from keysat.core.errors import RemoteUnavailable
from keysat.core.secrets import secret_box, unseal
from tests.builders import FAKE_URL, STORE, audit_actions, load_account, make_account, make_invoice, set_account

pytestmark = pytest.mark.usefixtures("empty_database")

ADD = ["provider", "add", "main", "--url", FAKE_URL, "--store", STORE, "--kind", "fake", "--unchecked"]
WEBHOOK_SECRET = "a-webhook-secret-of-enough-bytes"


def credentials(settings):
    return unseal(secret_box(settings), load_account().sealed_credentials, "account main")


def test_key_is_read_from_stdin(keysat, settings):
    added = keysat(*ADD, "--json", stdin="the-key\n")
    account = load_account()
    assert (added.code, added.json) == (0, {"id": str(account.id), "name": "main"})
    assert (account.kind, account.base_url, account.store_id) == ("fake", FAKE_URL, STORE)
    assert credentials(settings) == {"api_key": "the-key", "webhook_secret": ""}


def test_key_is_read_from_the_environment(keysat, settings, monkeypatch):
    monkeypatch.setenv("KEYSAT_PROVIDER_API_KEY", "key-of-environment")
    assert keysat(*ADD, stdin="another").code == 0
    assert credentials(settings)["api_key"] == "key-of-environment"


def test_secrets_are_read_from_files_before_all_else(keysat, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("KEYSAT_PROVIDER_API_KEY", "key-of-environment")
    (tmp_path / "key").write_text("key-of-file\n")
    (tmp_path / "secret").write_text(f"{WEBHOOK_SECRET}\n")
    options = ["--api-key-file", tmp_path / "key", "--webhook-secret-file", tmp_path / "secret"]
    assert keysat(*ADD, *options, stdin="another").code == 0
    assert credentials(settings) == {"api_key": "key-of-file", "webhook_secret": WEBHOOK_SECRET}


@pytest.mark.parametrize("flag", ["--api-key", "--webhook-secret", "--token", "--password"])
def test_secrets_are_never_flags(keysat, flag):
    assert keysat(*ADD, flag, "hunter2").code == 2


def test_no_output_shows_a_secret(keysat, tmp_path):
    (tmp_path / "secret").write_text(WEBHOOK_SECRET)
    added = keysat(*ADD, "--webhook-secret-file", tmp_path / "secret", stdin="the-hidden-key")
    listed, audited = keysat("provider", "list", "--json"), keysat("audit", "list", "--json")
    for finished in (added, listed, audited):
        assert finished.code == 0
        for secret in ("the-hidden-key", WEBHOOK_SECRET):
            assert secret not in finished.out + finished.err


def test_without_a_key_the_sentence_says_where_to_give_it(keysat):
    assert "KEYSAT_PROVIDER_API_KEY" in keysat(*ADD).refusal
    assert keysat("provider", "list", "--json").json == []


def test_file_that_can_not_be_read_is_refused(keysat, tmp_path):
    assert f"can't be read from {tmp_path}/no" in keysat(*ADD, "--api-key-file", tmp_path / "no").refusal
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "can't be read from" in keysat(*ADD, "--api-key-file", tmp_path / "binary").refusal


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"--url": "btcpay.example.com"}, "must look like https://btcpay.example.com"),
        ({"--url": "https://me:pw@btcpay.example.com"}, "without password or query"),
        ({"--url": "https://btcpay.example.com/?a=b"}, "without password or query"),
        ({"--url": "file:///etc/passwd"}, "must look like"),
        ({"--url": "https://[::1"}, "must look like"),
        ({"--store": " "}, "store id is empty"),
        ({"--kind": "paypal"}, "provider kind 'paypal' is not known; use one of btcpay, "),
    ],
)
def test_value_of_another_form_is_refused(keysat, change, complaint):
    options = {"--url": FAKE_URL, "--store": STORE, "--kind": "fake", **change}
    arguments = [part for option in options.items() for part in option]
    assert complaint in keysat("provider", "add", "main", "--unchecked", *arguments, stdin="key").refusal


def test_short_webhook_secret_is_refused(keysat, tmp_path):
    (tmp_path / "secret").write_text("x" * 23)
    assert "at least 24 bytes" in keysat(*ADD, "--webhook-secret-file", tmp_path / "secret", stdin="key").refusal


@pytest.mark.parametrize("name", ["Main", "my shop", "", "x" * 64])
def test_name_of_another_form_is_refused(keysat, name):
    assert "must be lower-case letters" in keysat("provider", "add", name, *ADD[3:], stdin="key").refusal


def test_name_that_is_taken_is_refused(keysat, fake):
    make_account()
    assert "there is a provider account main already" in keysat(*ADD, stdin="key").refusal


def test_account_that_works_passes_the_test(keysat, fake):
    make_account()
    finished = keysat("provider", "test", "main")
    assert (finished.code, finished.out) == (0, "")
    assert "responds and accepts the credentials" in finished.err


def test_account_that_does_not_work_fails_the_test(keysat, fake):
    make_account(api_key="a-wrong-key")
    assert "rejected our credentials" in keysat("provider", "test", "main").refusal
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    assert keysat("provider", "test", "main").refusal == "the fake provider is down."


def test_account_is_paused_and_resumed(keysat, fake):
    make_account()
    assert keysat("provider", "pause", "main", "--note", "maintenance").code == 0
    assert keysat("provider", "list", "--json").json[0]["paused"] == "maintenance"
    assert "main was paused" in keysat("provider", "pause", "main").err
    set_account(failure_count=5, last_error="it is down")
    assert keysat("provider", "resume", "main").code == 0
    [row] = keysat("provider", "list", "--json").json
    assert (row["paused"], row["failures"], row["last_error"]) == (None, 0, None)
    assert audit_actions(load_account().id) == [
        "provider.added",
        "provider.sells",
        "provider.paused",
        "provider.resumed",
    ]


def test_provider_renew(keysat, fake, settings):
    """The webhook secret stays, and the account resumes."""
    make_account(api_key="a-wrong-key")
    before = credentials(settings)["webhook_secret"]
    keysat("provider", "pause", "main")
    assert keysat("provider", "renew", "main", stdin="key-of-test-store").code == 0
    assert credentials(settings) == {"api_key": "key-of-test-store", "webhook_secret": before}
    assert load_account().paused_at is None
    assert keysat("provider", "test", "main").code == 0


@pytest.mark.parametrize("command", ["test", "pause", "resume", "renew"])
def test_unknown_account_is_refused(keysat, command):
    wanted = "no provider account nothing; `keysat provider list` shows them."
    assert keysat("provider", command, "nothing", stdin="key").refusal == wanted


def test_account_without_invoices_can_be_removed(keysat, fake):
    make_account(name="mistyped")
    assert keysat("provider", "remove", "mistyped").code == 0
    assert keysat("provider", "list", "--json").json == []


def test_account_with_invoices_stays(keysat, fake):
    make_invoice()
    assert "invoices are bound to account main" in keysat("provider", "remove", "main").refusal
    assert [row["name"] for row in keysat("provider", "list", "--json").json] == ["main"]


def test_credentials_whose_key_is_lost_can_be_renewed(keysat, fake):
    make_account()
    set_account(sealed_credentials=b"of a key that is lost")
    assert keysat("provider", "renew", "main", stdin="key-of-test-store\n").code == 0
    assert keysat("provider", "test", "main").code == 0


def test_provider_add_without_url_and_store(keysat, settings):
    """A kind with a fixed address and no stores needs neither option."""
    assert keysat("provider", "add", "main", "--unchecked", "--kind", "zaprite", stdin="the-key\n").code == 0
    account = load_account()
    assert (account.kind, account.base_url, account.store_id) == ("zaprite", "https://api.zaprite.com", "-")
    assert credentials(settings) == {"api_key": "the-key", "webhook_secret": ""}


def test_account_at_a_kind_with_its_own_address_can_have_another(keysat):
    assert (
        keysat("provider", "add", "main", "--unchecked", "--kind", "zaprite", "--url", FAKE_URL, stdin="key").code == 0
    )
    assert load_account().base_url == FAKE_URL


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--kind", "btcpay", "--store", STORE], "a btcpay account needs a base URL; say where the server is."),
        (["--kind", "btcpay", "--url", "https://btcpay.example.com"], "the store id is empty"),
        (["--kind", "zaprite", "--store", STORE], "a zaprite account has no store; leave the store id out."),
    ],
)
def test_missing_or_unknown_options_are_named(keysat, options, complaint):
    assert complaint in keysat("provider", "add", "main", "--unchecked", *options, stdin="key").refusal
    assert keysat("provider", "list", "--json").json == []


@pytest.mark.parametrize(
    "secret", ["with/a/slash/of-24-bytes-", "with a space of 24 bytes..", "with-a-%2F-of-24-bytes-or"]
)
def test_provider_webhook_secret_unsafe_in_url(keysat, tmp_path, secret):
    """Kinds whose secret is part of the webhook's URL refuse characters that a URL can't contain."""
    (tmp_path / "secret").write_text(secret)
    options = ["--webhook-secret-file", tmp_path / "secret"]
    zaprite = keysat("provider", "add", "main", "--unchecked", "--kind", "zaprite", *options, stdin="key")
    assert "becomes part of a URL" in zaprite.refusal
    assert keysat(*ADD, *options, stdin="key").code == 0
    set_account(kind="zaprite")
    assert "becomes part of a URL" in keysat("provider", "renew", "main", *options, stdin="key").refusal
