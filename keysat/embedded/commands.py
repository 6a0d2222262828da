"""The commands of the child processes, and an environment with their supervisor's exact settings."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Mapping, Sequence

from keysat.core.settings import Settings
from keysat.embedded.process import Say

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


def web_wanted(settings: Settings, web: bool, say: Say) -> bool:  # noqa: FBT001 - a setting passed on
    """Return whether to run the web server: only if its port is free and `web` is True."""
    free = web and _port_free(settings.web_host, settings.web_port)
    if web and not free:
        say(f"Port {settings.web_port} is taken, so the web server doesn't run; set KEYSAT_WEB_PORT to a free one.")
    return free


def flower_wanted(settings: Settings, flower: bool | None, say: Say) -> bool:  # noqa: FBT001 - a setting passed on
    """Return whether to run Flower: only if it is installed, its port is free, and `flower` isn't False."""
    if flower is False:
        return False
    if importlib.util.find_spec("flower") is None:
        if flower:
            say("Flower is not installed, so it doesn't run; install keysat[flower].")
        return False
    port = settings.flower_port
    if not _port_free("127.0.0.1", port):
        say(f"Port {port} is taken, so Flower doesn't run; set KEYSAT_FLOWER_PORT to a free one.")
        return False
    return True


def _port_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def child_environment(settings: Settings) -> dict[str, str]:
    """Return our environment with every setting set explicitly, so that a child can't see other values."""
    environment = dict(os.environ)
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        environment[str(info.validation_alias or f"KEYSAT_{name.upper()}")] = "" if value is None else str(value)
    return environment
