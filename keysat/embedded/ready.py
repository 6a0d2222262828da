"""Find out whether the web server responds, and whether a port is taken before it starts."""

from __future__ import annotations

import socket
from collections.abc import Callable

from keysat.core.errors import KeysatError
from keysat.core.settings import Settings

_SECONDS = 0.5
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses that servers listen on


class PortTaken(KeysatError):
    """Another program listens on a port that Keysat needs."""

    def __init__(self, port: int, who: str, variable: str, option: str) -> None:
        super().__init__(f"port {port}, for {who}, is taken; set {variable} to a free one, or start with {option}.")


def require_port(host: str, port: int, who: str, variable: str, option: str) -> None:
    """Refuse to start where a port is taken.

    Raises:
        PortTaken: another program has it.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortTaken(port, who, variable, option) from None


class Announcement:
    """Reports once that the web server responds, with the next step to type. Call it from time to time."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say, self._made = settings, say, False

    def __call__(self) -> None:
        if self._made or not responds(self._settings):
            return
        self._made = True
        self._say(f"Keysat is ready at {self._settings.url}; Ctrl-C stops it.")
        self._say("Next, in another terminal: `keysat provider add --help`, then `keysat doctor`.")


def responds(settings: Settings) -> bool:
    """Return whether the web server responds to a request. It accepts connections before it can respond."""
    host = _EVERYWHERE.get(settings.web_host, settings.web_host)
    try:
        with socket.create_connection((host, settings.web_port), _SECONDS) as connection:
            connection.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(12).endswith(b" 200")
    except OSError:
        return False
