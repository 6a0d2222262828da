"""Deliveries: pending ones are sent, failed ones are retried later, and finished ones are never sent again."""

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import DeliveryAttempt, OutboundEvent, WebhookDelivery, WebhookEndpoint
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.deliver import DeliveryResult, Sender, deliver
from keysat.webhooks.delivery_queue import Attempt, due_deliveries, lease, record_attempt
from keysat.webhooks.endpoints import pause_endpoint, remove_endpoint, resume_endpoint, rotate_secret
from tests.webhooks.receiver import Receiver, verified


def happen(number=1, event_type=EventType.LICENSE_ISSUED):
    with transaction() as session:
        for count in range(number):
            emit(session, event_type, {"number": count})


def due():
    with reading() as session:
        return due_deliveries(session, 100, 1_000)


def deliveries(endpoint="shop"):
    wanted = select(WebhookDelivery).join(WebhookEndpoint).where(WebhookEndpoint.name == endpoint)
    with reading() as session:
        return session.scalars(wanted.order_by(WebhookDelivery.id)).all()


def attempts():
    with reading() as session:
        return session.scalars(select(DeliveryAttempt).order_by(DeliveryAttempt.id)).all()


def load_endpoint(name="shop"):
    with reading() as session:
        return session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.name == name)).one()


def send_all(sender):
    while owed := due():
        for delivery_id in owed:
            deliver(DATABASE, sender, delivery_id)


def make_due():
    with transaction() as session:
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.next_attempt_at.is_not(None))
            .values(next_attempt_at=func.now(), leased_until=None)
        )


def test_event_reaches_each_endpoint_that_wants_it_signed(sender, receiver, new_endpoint):
    _, secret = new_endpoint(receiver.url)
    new_endpoint(receiver.url, "other", [EventType.LICENSE_REVOKED])
    happen()
    send_all(sender)
    (copy,) = receiver.copies
    assert verified(copy, secret)["data"] == {"number": 0}
    assert set(json.loads(copy.body)) == {"event_type", "timestamp", "data"}
    (delivery,) = deliveries()
    assert (delivery.attempts, delivery.next_attempt_at, delivery.last_error) == (1, None, None)
    assert copy.headers["X-Keysat-Delivery"] == str(delivery.id)
    assert deliveries("other") == []


def test_nothing_is_written_without_endpoints(receiver, new_endpoint):
    new_endpoint(receiver.url, event_types=[EventType.TIP_SENT])
    happen()
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(OutboundEvent)) == 0


def happen_and_fail():
    with transaction() as session:
        for data in ({}, {"what has no form": object()}):
            emit(session, EventType.LICENSE_ISSUED, data)


def test_event_is_undone_with_its_transaction(receiver, new_endpoint):
    new_endpoint(receiver.url)
    with pytest.raises(TypeError, match="no form in an event"):
        happen_and_fail()
    assert due() == []


def test_delivery_retries(sender, new_endpoint):
    """A failed delivery is retried with the same id and body until the tenth attempt."""
    receiver = Receiver(lambda _: (500, {}, b"no" * 5_000))
    new_endpoint(receiver.url)
    happen()
    for number in range(1, 11):
        send_all(sender)
        (delivery,) = deliveries()
        assert delivery.attempts == number
        assert (delivery.next_attempt_at is None) == (number == 10)
        make_due()
    assert delivery.last_error == "answered 500"
    assert [(attempt.status_code, len(attempt.answer)) for attempt in attempts()] == [(500, 2_000)] * 10
    assert len({copy.body for copy in receiver.copies}) == len({copy.headers["webhook-id"] for copy in receiver.copies})
    assert len(receiver.copies) == 10
    assert due() == []
    receiver.close()


def test_result_says_what_happened(sender, new_endpoint, log_of):
    """The task returns it for Flower, and the log has a line with the ids of the delivery and its endpoint."""
    logged, statuses = log_of("keysat.webhooks.deliver"), iter((503, 204))
    receiver = Receiver(lambda _: (next(statuses), {}, b""))
    new_endpoint(receiver.url)
    happen()
    (owed,) = due()
    assert re.fullmatch(r"failed: 503, retried in \d+ s", deliver(DATABASE, sender, owed).sentence)
    make_due()
    assert deliver(DATABASE, sender, owed).sentence == "delivered: 204"
    assert deliver(DATABASE, sender, owed).sentence == "nothing to do"
    assert [(line["log_level"], line["event"]) for line in logged] == [
        ("info", "delivery failed"),
        ("info", "delivered"),
        ("debug", "nothing to deliver"),
    ]
    assert {line["delivery_id"] for line in logged} == {str(owed)}
    assert logged[0]["endpoint_id"] == str(load_endpoint().id)
    receiver.close()


@pytest.mark.parametrize(("status", "asked"), [(429, 700), (503, 700), (500, None)])
def test_wish_for_patience_is_honored(sender, new_endpoint, status, asked):
    receiver = Receiver(lambda _: (status, {"Retry-After": str(asked)} if asked else {}, b""))
    new_endpoint(receiver.url)
    happen()
    send_all(sender)
    with reading() as session:
        wait = session.scalar(select(WebhookDelivery.next_attempt_at - func.now())).total_seconds()
    assert (wait > 600) == bool(asked)
    receiver.close()


def test_redirect_is_a_failure(sender, new_endpoint):
    target = Receiver()
    receiver = Receiver(lambda _: (307, {"Location": target.url}, b""))
    new_endpoint(receiver.url)
    happen()
    send_all(sender)
    assert (deliveries()[0].last_error, target.copies) == ("answered 307", [])
    receiver.close()
    target.close()


def test_410_disables_the_endpoint_and_the_others_hear_of_it(sender, receiver, new_endpoint):
    gone = Receiver(lambda _: 410)
    new_endpoint(gone.url, "gone")
    new_endpoint(receiver.url, "other", [EventType.ENDPOINT_DISABLED])
    happen(3)
    send_all(sender)
    assert "410" in load_endpoint("gone").disabled_reason
    assert len(gone.copies) == 1
    (copy,) = receiver.copies
    assert json.loads(copy.body)["data"]["name"] == "gone"
    happen()
    assert len(deliveries("gone")) == 3
    gone.close()


def test_endpoint_failing_five_days(sender, new_endpoint):
    """It is disabled, and resumes with its pending deliveries."""
    receiver = Receiver(lambda _: 500)
    new_endpoint(receiver.url)
    happen()
    send_all(sender)
    failing = load_endpoint().failing_since
    assert failing
    assert load_endpoint().disabled_at is None
    with transaction() as session:
        session.execute(update(WebhookEndpoint).values(failing_since=func.now() - timedelta(days=5, minutes=1)))
    make_due()
    send_all(sender)
    assert load_endpoint().disabled_at is None  # the clock may be wrong this once
    with transaction() as session:
        session.execute(update(DeliveryAttempt).values(at=func.now() - timedelta(days=1)))
    make_due()
    send_all(sender)
    assert "failed for 5 days" in load_endpoint().disabled_reason
    receiver.answer = lambda _: 204
    make_due()
    assert due() == []
    with transaction() as session:
        resume_endpoint(session, "shop", actor="cli")
    send_all(sender)
    assert deliveries()[0].delivered_at
    assert load_endpoint().failing_since is None
    receiver.close()


def test_success_ends_the_failing(sender, new_endpoint):
    answers = iter([500, 204])
    receiver = Receiver(lambda _: next(answers))
    new_endpoint(receiver.url)
    happen()
    send_all(sender)
    assert load_endpoint().failing_since
    make_due()
    send_all(sender)
    assert load_endpoint().failing_since is None
    receiver.close()


def test_pause_holds_and_kills_nothing(sender, receiver, new_endpoint):
    new_endpoint(receiver.url)
    happen()
    with transaction() as session:
        pause_endpoint(session, "shop", actor="cli")
    happen()
    send_all(sender)
    assert receiver.copies == []
    with transaction() as session:
        resume_endpoint(session, "shop", actor="cli")
    send_all(sender)
    assert len(receiver.copies) == 2


def test_removed_endpoint_takes_its_deliveries_along(sender, receiver, new_endpoint):
    new_endpoint(receiver.url)
    happen()
    (owed,) = due()
    with transaction() as session:
        leased = lease(session, owed, 4)
    with transaction() as session:
        remove_endpoint(session, "shop", actor="cli")
    with transaction() as session:
        assert record_attempt(session, leased, Attempt(1, status_code=204)) is None
    assert deliver(DATABASE, sender, owed) == DeliveryResult("nothing to do")
    assert attempts() == []


def remove_shop(_):
    with transaction() as session:
        remove_endpoint(session, "shop", actor="cli")
    return 204


def lease_again(_):
    with transaction() as session:
        session.execute(update(WebhookDelivery).values(leased_until=func.now() + timedelta(seconds=9)))
    return 500


@pytest.mark.parametrize(
    ("answer", "attempts_before", "sentence"),
    [
        (remove_shop, 0, "the endpoint was removed"),
        (lease_again, 0, "failed: 500, superseded"),
        (lambda _: 500, 9, "failed: 500, given up"),
        (lambda _: 410, 0, "failed: 410, given up"),
    ],
    ids=["removed meanwhile", "leased meanwhile", "tenth attempt", "gone"],
)
def test_result_says_what_an_attempt_led_to(sender, receiver, new_endpoint, answer, attempts_before, sentence):
    receiver.answer = answer
    new_endpoint(receiver.url)
    happen()
    (owed,) = due()
    with transaction() as session:
        session.execute(update(WebhookDelivery).values(attempts=attempts_before))
    assert deliver(DATABASE, sender, owed) == DeliveryResult(sentence)
    assert len(receiver.copies) == 1


def test_both_secrets_verify_until_the_overlap_ends(sender, receiver, new_endpoint):
    _, old = new_endpoint(receiver.url)
    with transaction() as session:
        new = rotate_secret(session, secret_box(load_settings()), "shop", timedelta(hours=1), actor="cli")
    happen()
    send_all(sender)
    (copy,) = receiver.copies
    assert verified(copy, old) == verified(copy, new)
    with transaction() as session:
        session.execute(update(WebhookEndpoint).values(previous_until=func.now()))
    happen()
    send_all(sender)
    assert verified(receiver.copies[1], new)
    assert len(receiver.copies[1].headers["webhook-signature"].split()) == 1


def test_address_of_this_machine_is_refused_unless_it_is_allowed(settings, receiver, new_endpoint):
    new_endpoint(receiver.url.replace("http://", "https://"))
    happen()
    send_all(Sender.of(settings, str))
    assert "nothing is sent to 127.0.0.1: this machine" in deliveries()[0].last_error
    assert receiver.copies == []


def test_at_most_so_many_run_at_one_endpoint_at_once(receiver, new_endpoint):
    new_endpoint(receiver.url)
    happen(6)
    owed = due()
    with transaction() as session:
        running = [lease(session, delivery_id, 4) for delivery_id in owed]
    assert [leased is not None for leased in running] == [True] * 4 + [False] * 2
    with transaction() as session:
        assert record_attempt(session, running[0], Attempt(1, status_code=204)).next_id in owed[4:]
        assert lease(session, owed[4], 4) is not None


def test_message_about_one_that_was_taken_sends_the_next(receiver, new_endpoint):
    new_endpoint(receiver.url)
    happen(2)
    first, second = due()
    with transaction() as session:
        assert lease(session, first, 4).delivery_id == first
        assert lease(session, first, 4).delivery_id == second
        assert lease(session, first, 4) is None


def test_lease_of_dead_sender(receiver, new_endpoint):
    """The lease ends, and the sender's late result changes the delivery only if it arrived."""
    new_endpoint(receiver.url)
    happen()
    (owed,) = due()
    with transaction() as session:
        dead = lease(session, owed, 4)
    make_due()
    with transaction() as session:
        alive = lease(session, owed, 4)
    with transaction() as session:
        record_attempt(session, dead, Attempt(1, status_code=500))
    assert deliveries()[0].attempts == 0
    with transaction() as session:
        record_attempt(session, dead, Attempt(1, status_code=204))
    assert deliveries()[0].delivered_at
    with transaction() as session:
        record_attempt(session, alive, Attempt(1, status_code=500))
    assert deliveries()[0].delivered_at
    assert [attempt.status_code for attempt in attempts()] == [500, 204, 500]
