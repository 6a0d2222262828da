"""`keysat web`: the HTTP API."""

from __future__ import annotations

import os
import signal
import socket

import uvicorn

from keysat.cli.output import say
from keysat.core import metrics, notices
from keysat.core.errors import KeysatError
from keysat.core.logs import configure_logs
from keysat.core.settings import Settings, load_settings
from keysat.web.connections import BACKLOG, guarded, throttle_server_logs

GRACE_SECONDS = 20


class AddressUnusable(KeysatError):
    """The web server can't listen on its address."""

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(
            f"the web server can't listen on {host}:{port} ({cause}); set KEYSAT_WEB_HOST and KEYSAT_WEB_PORT."
        )


def web() -> None:
    """Serve the HTTP API. Ctrl-C or SIGTERM stops it, once running requests are complete."""
    settings = load_settings()
    configure_logs(settings)
    metrics.record(settings.metrics_dir, f"web{settings.web_port}")
    config = uvicorn.Config(
        "keysat.web.app:create_app",
        factory=True,
        http=guarded(settings.web_max_connections),
        backlog=BACKLOG,
        timeout_keep_alive=settings.web_keep_alive,
        log_config=None,
        access_log=False,  # a path may contain a provider's secret token
        proxy_headers=False,  # the application itself checks which proxies to trust
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    throttle_server_logs()
    notices.withdraw(notices.PROXY, f"web{settings.web_port}")
    with _listen(settings) as listener:
        say(f"Keysat listens at http://{settings.web_host}:{settings.web_port}")
        # Uvicorn raises the signal again after its shutdown, but a requested stop is no failure.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.web_host else socket.AF_INET
    try:
        return socket.create_server((settings.web_host, settings.web_port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressUnusable(
            settings.web_host, settings.web_port, os.strerror(error.errno) if error.errno else str(error)
        ) from error
