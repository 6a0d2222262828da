"""Only the database's clock matters: another wrong clock neither sends expired messages nor discards live ones."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy.exc import OperationalError

from keysat.core import clock
from keysat.core.errors import DatabaseUnavailable
from keysat.tasks.app import Request, app
from keysat.tasks.tasks import reconcile_invoice

OFF = timedelta(minutes=10)
INVOICE = "0198c0de-0000-7000-8000-000000000000"
BARELY = timedelta(seconds=3)


@pytest.fixture(params=[OFF, -OFF], ids=["ahead", "behind"])
def wrong_clock(request, empty_broker, monkeypatch):
    """A clock that is off, in a process that has just found that out."""
    monkeypatch.setattr(clock, "_measured", clock._Measured())
    right = datetime.now(UTC)
    with time_machine.travel(right + request.param, tick=True):
        yield request.param


def truth():
    """The time as the database has it."""
    with clock.reading() as session:
        return session.execute(clock.select(clock.func.clock_timestamp())).scalar_one()


def test_time_is_the_databases(wrong_clock):
    assert abs(datetime.now(UTC) - truth()) > OFF - BARELY
    assert abs(clock.now() - truth()) < BARELY


def test_database_is_asked_once_a_minute_and_not_missed(wrong_clock, monkeypatch):
    clock.now()

    def away():
        raise DatabaseUnavailable("db", "gone") from OperationalError("", {}, Exception())

    monkeypatch.setattr(clock, "reading", away)
    assert abs(clock.now() - (datetime.now(UTC) - wrong_clock)) < BARELY
    clock._measured.asked_at -= 61
    assert abs(clock.now() - (datetime.now(UTC) - wrong_clock)) < BARELY


def test_message_expires_by_the_databases_clock(wrong_clock, empty_broker):
    reconcile_invoice.apply_async((INVOICE,), expires=30)
    [raw] = empty_broker.lrange("reconcile", 0, -1)
    expires = datetime.fromisoformat(json.loads(raw)["headers"]["expires"])
    assert abs(expires - truth() - timedelta(seconds=30)) < BARELY


def test_message_that_is_tried_again_keeps_its_time(wrong_clock, empty_broker):
    until = (truth() + timedelta(seconds=30)).isoformat()
    reconcile_invoice.apply_async((INVOICE,), expires=until, retries=1)
    [raw] = empty_broker.lrange("reconcile", 0, -1)
    assert json.loads(raw)["headers"]["expires"] == until


@pytest.mark.parametrize(("seconds", "expired"), [(30, None), (-30, True)])
def test_worker_judges_by_the_databases_clock(wrong_clock, empty_broker, seconds, expired):
    reconcile_invoice.apply_async((INVOICE,), expires=(truth() + timedelta(seconds=seconds)).isoformat(), retries=1)
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("reconcile", no_ack=True)
        request = Request(message, app=app, task=reconcile_invoice)
        assert request.maybe_expire() is expired
