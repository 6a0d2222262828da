"""Beat's scheduler: nothing stored, and no clock, keeps the scans from being sent."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from keysat.core.settings import load_settings
from keysat.tasks.app import app
from keysat.tasks.beat import SteadyScheduler
from keysat.tasks.tasks import scan_pending
from tests.nodes import ProcessContainer, beat_command, wait_until

pytestmark = pytest.mark.usefixtures("servers")

OFTEN = {"KEYSAT_SCAN_SECONDS": "0.5"}
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Recording(SteadyScheduler):
    """Remembers what would have been sent."""

    def __init__(self, *args, **kwargs):
        self.sent = []
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry, producer=None):
        self.sent.append(entry.name)

    def run_for(self, traveller, seconds):
        """Tick as beat does while the clock advances by `seconds`. Returns the messages sent."""
        self.sent.clear()
        for _ in range(seconds):
            while self.tick() == 0:
                continue
            traveller.shift(timedelta(seconds=1))
            self._offset += 1  # the monotonic clock goes on as well, which a pretended one doesn't
        return set(self.sent)


@pytest.fixture
def time_traveller():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.mark.parametrize("jump", [timedelta(days=-30), timedelta(days=-1), timedelta(days=1), timedelta(days=400)])
def test_scans_go_on_after_the_clock_has_jumped(time_traveller, jump):
    scheduler = Recording(app)
    assert "scan-pending" in scheduler.run_for(time_traveller, 20)
    time_traveller.shift(jump)
    assert "scan-pending" in scheduler.run_for(time_traveller, 20)
    assert {"scan-pending", "scan-deliveries", "scan-mails", "scan-tips"} <= scheduler.run_for(time_traveller, 40)


def message_in(client, queue):
    """The queue's oldest message without what differs from one to the next: its headers and its route."""
    message = json.loads(client.rpop(queue))
    headers = message["headers"]
    assert headers["expires"] is not None
    own = {"id", "root_id", "expires", "origin", "periodic_task_name", "celery_beat_task"}
    return {name: value for name, value in headers.items() if name not in own}, message["properties"]["delivery_info"]


def test_beat_that_knows_only_names_sends_the_same_message(empty_broker):
    """The beat of `keysat up` and `keysat celery beat` imports no task."""
    scan_pending.apply_async(expires=15)
    ours = message_in(empty_broker, "scan")
    beat = ProcessContainer(
        [sys.executable, "-P", "-m", "keysat.worker", "beat"], environment={"KEYSAT_SCAN_SECONDS": "0.5"}
    )
    try:
        wait_until(lambda: b"scan_pending" in (empty_broker.lindex("scan", -1) or b""))
        assert message_in(empty_broker, "scan") == ours
    finally:
        beat.teardown()


def test_every_entry_is_sent_in_its_turn(time_traveller):
    scheduler = Recording(app)
    assert scheduler.run_for(time_traveller, 301) == set(app.conf.beat_schedule) - {"prune"}


@pytest.mark.parametrize("content", [b"garbage", None])
def test_stored_schedule_stops_nothing(servers, empty_broker, tmp_path, content):
    for name in ("beat", "beat.db", "celerybeat-schedule"):
        if content is None:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(content)
    beat = ProcessContainer([*beat_command()[:-1], str(tmp_path / "beat")], environment=OFTEN)
    try:
        wait_until(lambda: "scan-pending" in beat.logs())
    finally:
        beat.teardown()
    assert (load_settings().data_dir / "beat.alive").exists()
