"""`keysat webhook listen`: what it prints and forwards, and how it ends."""

import json
import threading

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import reading, transaction
from keysat.models import WebhookEndpoint
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.endpoints import remove_endpoint
from keysat.webhooks.listen import ABANDONED_AFTER, remove_abandoned
from keysat.webhooks.signing import new_secret
from tests.nodes import wait_until
from tests.webhooks.receiver import Receiver, verified

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def meanwhile():
    """Does something once a listener is there, while the command runs."""
    threads = []

    def do(something):
        threads.append(threading.Thread(target=lambda: (wait_until(listeners), something())))
        threads[0].start()

    yield do
    for thread in threads:
        thread.join(60)


def listeners():
    with reading() as session:
        return session.scalars(select(WebhookEndpoint.name)).all()


def happen(number):
    with transaction() as session:
        for count in range(number):
            emit(session, EventType.LICENSE_ISSUED, {"number": count})


def test_listen_prints_and_forwards_events_as_a_real_endpoint_gets_them(keysat, meanwhile, tmp_path):
    """The program is on this machine, without that the settings allow it."""
    secret = new_secret()
    (tmp_path / "secret").write_text(secret)
    program = Receiver()
    meanwhile(lambda: happen(2))
    forward = ("--forward", program.url, "--secret-file", tmp_path / "secret")
    heard = keysat("webhook", "listen", "--event", "license.issued", "--count", "2", "--every", "0.05", *forward)
    program.close()
    assert heard.code == 0
    events = [json.loads(line) for line in heard.out.splitlines()]
    assert [event["data"] for event in events] == [{"number": 0}, {"number": 1}]
    assert [verified(copy, secret) for copy in program.copies] == events
    assert "license.issued: the program responded with 204" in heard.err
    assert keysat("webhook", "endpoint", "list", "--json").json == []


def test_listen_refuses_what_is_no_event(keysat):
    assert "nothing is no event" in keysat("webhook", "listen", "--event", "nothing").refusal
    assert "must start with" in keysat("webhook", "listen", "--forward", "127.0.0.1:3000").refusal
    assert listeners() == []


def test_listener_stays_while_slow_forwards_follow_each_other(keysat, meanwhile):
    """Each takes up to ten seconds, so that many take longer than a listener counts as alive."""
    stayed = []

    def answer(_):
        with transaction() as session:
            remove_abandoned(session, "cli")
            old = func.now() - ABANDONED_AFTER * 2
            session.execute(update(WebhookEndpoint).values(paused_at=old))
        stayed.append(len(listeners()))
        return 204

    program = Receiver(answer)
    meanwhile(lambda: happen(3))
    ended = keysat("webhook", "listen", "--count", "3", "--every", "0.05", "--forward", program.url)
    program.close()
    assert (ended.code, stayed) == (0, [1, 1, 1])


def test_removed_listener_ends_with_what_happened(keysat, meanwhile):
    def remove():
        with transaction() as session:
            remove_endpoint(session, listeners()[0], "cli")

    meanwhile(remove)
    ended = keysat("webhook", "listen", "--every", "0.05")
    assert "no listener listen-" in ended.refusal
    assert "start the command again" in ended.refusal


def test_listen_asks_often_enough_to_stay(keysat):
    assert "--every" in keysat("webhook", "listen", "--every", "61").usage
    assert listeners() == []
