"""A worker that can't run safely doesn't start, and says why."""

import gc
import subprocess
import sys

import pytest
from celery.signals import worker_init

from keysat.core import metrics
from keysat.core.settings import load_settings
from keysat.net import untrusted
from keysat.net.untrusted import GuardMissing
from keysat.tasks import start


class Worker:
    hostname = "worker@here"


def test_worker_without_the_address_guard_does_not_start(servers, monkeypatch):
    monkeypatch.setattr(untrusted, "refusal", lambda *_: None)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)
    monkeypatch.setattr(metrics, "record", lambda *_: pytest.fail("the worker went on"))
    with pytest.raises(SystemExit, match=r"^keysat: a call to the private address .* was not refused"):
        worker_init.send(sender=Worker())


def test_guard_is_checked_before_the_database(monkeypatch):
    """A worker without the guard says so, whatever else is wrong. Nothing is read before that."""
    monkeypatch.setattr(untrusted, "refusal", lambda *_: None)
    monkeypatch.setattr(untrusted, "_GUARD_SECONDS", 0.3)
    monkeypatch.setattr(start, "require_head", lambda: pytest.fail("the schema was read"))
    monkeypatch.setattr(start, "check_signer", lambda *_: pytest.fail("the key was read"))
    with pytest.raises(GuardMissing):
        start.check_start("worker@here")


def test_networks_that_the_operator_allows_are_no_hole_in_the_guard(servers, monkeypatch, empty_database):
    """The check has a client of its own, to which the settings allow nothing, so it passes where they allow all."""
    for name in ("KEYSAT_WEBHOOK_ALLOWED_NETWORKS", "KEYSAT_TIP_ALLOWED_NETWORKS"):
        monkeypatch.setenv(name, "0.0.0.0/0, ::/0")
    monkeypatch.setenv("KEYSAT_WEBHOOK_ALLOW_HTTP", "true")
    load_settings.cache_clear()
    started = []
    monkeypatch.setattr(metrics, "record", lambda _, role: started.append(role))
    try:
        start.check_start("worker@here")
    finally:
        gc.unfreeze()
        monkeypatch.undo()
        load_settings.cache_clear()
    assert started == ["worker"]


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


OF_TASKS = {"sqlalchemy", "requests", "cryptography.fernet", "jinja2", "keysat.tasks.tasks", "keysat.tasks.sending"}
# What Celery's group of commands imports beside the command that runs.
OF_THE_GROUP = {"celery.bin.celery", "celery.bin.shell", "click_repl"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs_tasks"), [("worker", True), ("beat", False), ("flower", False)])
def test_program_imports_what_it_needs(name, runs_tasks):
    """Each is the program itself, with Celery's own options. Only the worker imports what tasks need."""
    command = [sys.executable, "-X", "importtime", "-P", "-m", "keysat.worker", name, "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert f"Usage: keysat celery {name} " in run.stdout
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "keysat.tasks.app" in imported
    assert OF_TASKS & imported == (OF_TASKS if runs_tasks else set())
    assert OF_THE_GROUP & imported == set()
