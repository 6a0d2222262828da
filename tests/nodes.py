"""Workers and beats as plain processes, over `keysat.embedded.process`, and the wait for what they do."""

import os
import sys
import time
import uuid

from keysat.embedded.process import Process
from tests.environment import SCRATCH

WORKER_NAME = "keysat-tests"


class ProcessContainer:
    """A process that pytest-celery takes for a container."""

    def __init__(self, command, ready_prompt=None, environment=None):
        self.id = uuid.uuid4().hex
        self.name = f"node-{self.id[:12]}"
        self._ready_prompt = ready_prompt
        self._seen = 0
        arguments = [part.format(node=f"{WORKER_NAME}@{self.id[:12]}") for part in command]
        log = SCRATCH / f"{self.name}.log"
        self._process = Process(
            self.name, arguments, log, {**os.environ, "KEYSAT_LOG_LEVEL": "DEBUG", **(environment or {})}
        )
        self._process.start()

    @property
    def status(self):
        return "running" if self._process.alive else "exited"

    @property
    def pid(self):
        return self._process.pid

    @property
    def exit_code(self):
        """Negative for the signal that ended it. None while it runs."""
        return self._process.status

    @staticmethod
    def worker_name():
        return WORKER_NAME

    def logs(self):
        return self._process.log.read_text(errors="replace")[self._seen :]

    def forget_logs(self):
        """Let `logs` start empty, for the next test."""
        self._seen = len(self._process.log.read_text(errors="replace"))

    def ready(self, timeout=120):
        return self._ready_prompt is None or wait_until(lambda: self._ready_prompt in self.logs(), timeout)

    def kill(self, signal=None):
        self._process.kill()

    def reload(self):
        """A container's attributes are read from the engine, but a process has none."""

    def restart(self, timeout=None):
        self._process.stop()
        self.forget_logs()
        self._process.start()

    def teardown(self):
        self._process.kill()  # stopping in order takes seconds, and the stack's tests see to it


def worker_command(app="keysat.worker", concurrency=1, *, extra=()):
    """The command of a worker, its node name to be filled in."""
    quick = ("--without-mingle", "--without-gossip")  # which wait for neighbors that a test doesn't have
    return [*_program(app), "worker", "-n", "{node}", "-c", str(concurrency), *quick, *extra]


def beat_command(app="keysat.worker", schedule="beat"):
    """The command of a beat with a schedule file of its own."""
    own_schedule = SCRATCH / f"{schedule}-{uuid.uuid4().hex}"
    return [*_program(app), "beat", "-s", str(own_schedule)]


def _program(app):
    """The start of a command. Keysat's own program imports less than Celery's."""
    own = app == "keysat.worker"
    return [sys.executable, "-P", "-m", "keysat.worker"] if own else [sys.executable, "-m", "tests.program", app]


def wait_until(condition, timeout=180.0):
    """Poll a condition until it is true, after a second less often. Returns its result, or fails."""
    began = time.monotonic()
    while not (result := condition()):
        waited = time.monotonic() - began
        assert waited < timeout, f"nothing happened within {timeout:g} s"
        time.sleep(0.02 if waited < 1 else 0.05)
    return result
