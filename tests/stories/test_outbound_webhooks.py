"""Every event is delivered at least once, with one id and one body, through failures of receiver and sender."""

import pytest

from tests.webhooks.storm import storm

EVENTS, KILLS = 100, 2


@pytest.fixture
def _nobody_else(worker_processes):
    """A worker of other stories would take this one's messages, and call no receiver on this machine."""
    for started in list(worker_processes):
        worker_processes.pop(started).teardown()


@pytest.mark.usefixtures("empty_database", "empty_broker", "_nobody_else")
def test_events_survive_kills():
    """The full measure, 2,000 events and 20 kills, is in `make bench`."""
    outcome = storm(EVENTS, KILLS)
    assert (outcome.arrived, outcome.differing, outcome.unverified) == (EVENTS, 0, 0)
    assert outcome.copies > EVENTS
