"""A worker that can't run safely doesn't start, and says why."""

import subprocess
import sys

import pytest
from celery.signals import worker_init

from keysat.core import metrics
from keysat.net import untrusted


class Worker:
    hostname = "worker@here"


def test_worker_without_the_address_guard_does_not_start(servers, monkeypatch):
    monkeypatch.setattr(untrusted, "refusal", lambda *_: None)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)
    monkeypatch.setattr(metrics, "record", lambda *_: pytest.fail("the worker went on"))
    with pytest.raises(SystemExit, match=r"^keysat: a call to the private address .* was not refused"):
        worker_init.send(sender=Worker())


KNOWN = """
import sys
from keysat.tasks.app import app, without_tasks
without_tasks()
assert set(app.conf.task_routes) <= set(app.tasks)
app.loader.import_default_modules()
print(*sys.modules)
"""


@pytest.mark.slow
def test_programs_without_tasks_know_their_names_alone():
    """Beat and Flower have one process each, in which the tasks' libraries would be 30 MB."""
    run = subprocess.run([sys.executable, "-c", KNOWN], capture_output=True, text=True, check=True, timeout=300)
    assert {"sqlalchemy", "requests", "cryptography", "keysat.tasks.tasks", "rich"} & set(run.stdout.split()) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worker", "beat", "flower"])
def test_programs_have_celerys_own_options(name):
    """Celery's group of commands imports a shell and all plugins, so these run without it."""
    command = [sys.executable, "-P", "-m", "keysat.worker", name, "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert f"Usage: keysat celery {name} " in run.stdout
