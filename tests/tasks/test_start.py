"""A worker that can't run safely doesn't start, and says why."""

import pytest
from celery.signals import worker_init

from keysat.net import untrusted
from keysat.tasks import app as tasks_app


class Worker:
    hostname = "worker@here"


def test_worker_without_the_address_guard_does_not_start(servers, monkeypatch):
    monkeypatch.setattr(untrusted, "refusal", lambda *_: None)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)
    monkeypatch.setattr(tasks_app.metrics, "record", lambda *_: pytest.fail("the worker went on"))
    with pytest.raises(SystemExit, match=r"^keysat: a call to the private address .* was not refused"):
        worker_init.send(sender=Worker())
