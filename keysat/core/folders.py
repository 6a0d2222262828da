"""Default folders for Keysat's data, used when no setting names one."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

# A unix socket's path has at most 107 bytes. PostgreSQL adds "/.s.PGSQL.5432" to its folder.
_MAX_RUN_DIR = 107 - len("/.s.PGSQL.5432.lock")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


def default_data_dir() -> Path:
    """Return the data directory, following the XDG Base Directory Specification."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "keysat"


def run_dir_of(data_dir: Path) -> Path:
    """Return the folder for sockets, in the data directory.

    It is in /tmp if the path is too long for a socket, or if a URL would have to escape it.
    """
    inside = data_dir / "run"
    if len(os.fsencode(inside)) <= _MAX_RUN_DIR and _PLAIN_PATH.fullmatch(str(inside)):
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(f"/tmp/keysat-{os.getuid()}-{digest}")  # noqa: S108 - created 0700 and its owner checked
