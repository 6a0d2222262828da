"""The commands of the child processes, and an environment with their supervisor's exact settings."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence

from keysat.core.settings import Settings, embedded_database_url
from keysat.embedded.process import Say
from keysat.embedded.ready import require_port

_SAFELY = "-P"  # no imports from the working directory
_CELERY = (_SAFELY, "-m", "keysat.worker")


def child_commands(
    settings: Settings, worker_args: Sequence[str] = (), *, flower: bool = False, web: bool = False
) -> Mapping[str, Sequence[str]]:
    """Return the commands of workers, beat and, if enabled, Flower and the web server, as {name: argument vector}.

    Outbound webhooks have their own worker, so that hanging receivers delay only the deliveries to them.
    Workers send events (`-E`) only for Flower, because no other process reads them and they reduce throughput.
    """
    celery = (sys.executable, *_CELERY)
    events = ["-E"] if flower else []
    commands = {
        "worker": (*celery, "worker", *events, "-Q", "scan,issue,reconcile", *worker_args),
        "sender": (*celery, "worker", *events, "-Q", "deliver,tips", "-n", "sender@%h", "-P", "threads", "-c", "32"),
        "beat": (*celery, "beat"),
    }
    if flower:
        commands["flower"] = (*celery, "flower", "--address=127.0.0.1", f"--port={settings.flower_port}")
    if web:
        commands["web"] = (sys.executable, _SAFELY, "-m", "keysat", "web")
    return commands


def require_ports(settings: Settings, *, flower: bool, web: bool) -> None:
    """Refuse to start where a port is taken that the web server or Flower needs.

    Raises:
        PortTaken: the port, with the variable that changes it.
    """
    if web:
        require_port(settings.web_host, settings.web_port, "the web server", "KEYSAT_WEB_PORT", "--no-web")
    if flower:
        require_port("127.0.0.1", settings.flower_port, "Flower", "KEYSAT_FLOWER_PORT", "--no-flower")


def flower_wanted(flower: bool | None, say: Say) -> bool:  # noqa: FBT001 - a setting passed on
    """Decide whether Flower runs: where it is installed, unless `flower` is False."""
    if flower is False:
        return False
    if importlib.util.find_spec("flower") is None:
        if flower:
            say("Flower is not installed, so it doesn't run; install keysat[flower].")
        return False
    return True


def child_environment(settings: Settings) -> dict[str, str]:
    """Return our environment with every setting set explicitly, so that a child can't see other values."""
    environment = dict(os.environ)
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        environment[str(info.validation_alias or f"KEYSAT_{name.upper()}")] = "" if value is None else str(value)
    if settings.database_url == embedded_database_url(settings.data_dir):  # which takes SQLAlchemy to read
        environment["DATABASE_URL"] = ""
    return environment
