"""`keysat webhook`: endpoints, a test delivery, and sending again."""

import json

import pytest

from keysat.core.db import DATABASE, transaction
from keysat.core.settings import load_settings
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.deliver import Sender, deliver
from tests.webhooks.receiver import Receiver, verified

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def receiver(monkeypatch):
    """A receiver on this machine, which the operator allowed."""
    monkeypatch.setenv("KEYSAT_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
    load_settings.cache_clear()
    server = Receiver()
    yield server
    server.close()
    monkeypatch.undo()
    load_settings.cache_clear()


def happen(number=1, event_type=EventType.LICENSE_ISSUED):
    with transaction() as session:
        for count in range(number):
            emit(session, event_type, {"number": count})


def listed(keysat, *options):
    return keysat("webhook", "delivery", "list", "--json", *options).json


def send_all(keysat):
    sender = Sender.of(load_settings(), str)
    for row in listed(keysat, "--status", "pending"):
        deliver(DATABASE, sender, row["id"])


def test_endpoint_is_added_tried_and_its_secret_shown_once(keysat, receiver):
    added = keysat("webhook", "endpoint", "add", "shop", receiver.url, "--event", "license.issued", "--json").json
    assert keysat("webhook", "test", "shop").code == 0
    assert verified(receiver.copies[0], added["secret"])["event_type"] == "webhook.test"
    shown = keysat("webhook", "endpoint", "list")
    assert added["secret"] not in shown.out + shown.err
    assert "license.issued" in shown.out


def test_receiver_is_tried_with_a_sample(keysat, receiver):
    added = keysat("webhook", "endpoint", "add", "shop", receiver.url, "--json").json
    assert keysat("webhook", "test", "shop", "--event", "license.issued").code == 0
    event = verified(receiver.copies[0], added["secret"])
    assert (event["event_type"], event["data"]["email"]) == ("license.issued", "buyer@example.com")
    assert event["data"]["sample"] is True
    assert "--event" in keysat("webhook", "test", "shop", "--event", "license.sold").usage


def test_endpoint_secret_from_file(keysat, receiver, tmp_path):
    """The secret of an existing receiver is read from a file and not printed."""
    file = tmp_path / "secret"
    file.write_text("secret-of-an-older-installation\n")
    added = keysat("webhook", "endpoint", "add", "shop", receiver.url, "--secret-file", file)
    assert "older-installation" not in added.out + added.err
    file.write_text("short")
    assert "at least 24 bytes" in keysat("webhook", "endpoint", "add", "b", receiver.url, "--secret-file", file).refusal


def test_failed_test_says_why(keysat, receiver):
    keysat("webhook", "endpoint", "add", "shop", receiver.url)
    receiver.answer = lambda _: (500, {}, b"no such table")
    failed = keysat("webhook", "test", "shop")
    assert (failed.code, "no such table" in failed.out) == (1, True)
    assert "didn't take the test event: answered 500" in failed.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["add", "shop", "http://shop.example.com/"], "must start with https://"),
        (["add", "shop", "http://shop.example.com/"], "KEYSAT_WEBHOOK_ALLOW_HTTP=true"),
        (["add", "shop", "https://user:pw@shop.example.com/"], "without user or password"),
        (["add", "Shop!", "https://shop.example.com/"], "must be lower-case letters"),
        (
            ["add", "shop", "https://shop.example.com/", "--event", "license.sold"],
            "license.sold is no event; there are",
        ),
        (["pause", "shop"], "no webhook endpoint shop"),
        (["rotate", "shop"], "no webhook endpoint shop"),
        (["rotate", "shop", "--overlap", "long"], "must be like 30m"),
        (["remove", "shop"], "no webhook endpoint shop"),
        (["edit", "shop"], "no webhook endpoint shop"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(keysat, arguments, complaint):
    assert complaint in keysat("webhook", "endpoint", *arguments).refusal


def test_name_is_used_once(keysat):
    keysat("webhook", "endpoint", "add", "shop", "https://shop.example.com/")
    assert "already" in keysat("webhook", "endpoint", "add", "shop", "https://shop.example.com/").refusal


def test_endpoint_is_paused_edited_rotated_resumed_and_removed(keysat, receiver):
    old = keysat("webhook", "endpoint", "add", "shop", "https://shop.example.com/", "--json").json["secret"]
    assert keysat("webhook", "endpoint", "pause", "shop").code == 0
    assert "paused" in keysat("webhook", "endpoint", "list").out
    happen()
    keysat("webhook", "endpoint", "edit", "shop", "--url", receiver.url, "--event", "tip.sent")
    new = keysat("webhook", "endpoint", "rotate", "shop", "--overlap", "1h", "--json").json["secret"]
    keysat("webhook", "endpoint", "resume", "shop")
    happen()
    send_all(keysat)
    (copy,) = receiver.copies
    assert verified(copy, old) == verified(copy, new)
    assert keysat("webhook", "endpoint", "remove", "shop").code == 0
    assert listed(keysat) == []


def test_deliveries_are_listed_shown_retried_and_replayed(keysat, receiver):
    keysat("webhook", "endpoint", "add", "shop", receiver.url)
    receiver.answer = lambda _: (410, {}, b"gone for good")
    happen()
    send_all(keysat)
    (dead,) = listed(keysat, "--status", "failed", "--endpoint", "shop", "--event", "license.issued", "--since", "1h")
    shown = keysat("webhook", "delivery", "show", dead["id"], "--json").json
    assert json.loads(shown["body"])["data"] == {"number": 0}
    assert [(attempt["status"], attempt["error"]) for attempt in shown["attempt_log"]] == [(410, "gone for good")]
    receiver.answer = lambda _: 204
    keysat("webhook", "endpoint", "resume", "shop")
    assert "1 outbound webhooks are dead letters" in keysat("status").err
    assert "1 deliveries would be" in keysat("webhook", "delivery", "replay", "--dry-run").err
    assert listed(keysat, "--status", "pending") == []
    assert keysat("webhook", "delivery", "retry", dead["id"]).code == 0
    send_all(keysat)
    again = keysat("webhook", "delivery", "show", dead["id"], "--json").json
    assert [attempt["status"] for attempt in again["attempt_log"]] == [410, 204]
    assert again["status"] == "delivered"
    assert len({copy.headers["webhook-id"] for copy in receiver.copies}) == 1
    assert listed(keysat, "--since", "2100-01-01") == []


def test_replay_respects_rate_and_filters(keysat, receiver):
    keysat("webhook", "endpoint", "add", "shop", receiver.url)
    happen(5)
    happen(1, EventType.TIP_SENT)
    send_all(keysat)
    replay = ["webhook", "delivery", "replay", "--status", "delivered"]
    assert "5 deliveries" in keysat(*replay, "--event", "license.issued", "--rate", "0.5").err
    due = sorted(row["next_attempt_at"] for row in listed(keysat, "--status", "pending"))
    assert len(set(due)) == 5
    assert "0 deliveries" in keysat(*replay, "--event", "license.issued").err
    assert keysat("webhook", "delivery", "retry", "01a21076-4515-7464-8cda-93e2d050f870").refusal.startswith(
        "no delivery"
    )
    assert "must be like" in keysat(*replay, "--since", "yesterday").refusal


def test_endpoint_asks_for_keys(keysat):
    url = "https://shop.example.com/hooks"
    assert "https:// only" in keysat("webhook", "endpoint", "add", "shop", "http://127.0.0.1/x", "--with-key").refusal
    keysat("webhook", "endpoint", "add", "shop", url, "--with-key")
    assert keysat("webhook", "endpoint", "list", "--json").json[0]["with_key"] is True
    keysat("webhook", "endpoint", "edit", "shop", "--without-key")
    assert keysat("webhook", "endpoint", "list", "--json").json[0]["with_key"] is False
