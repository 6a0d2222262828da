"""Input of secrets: from a file, the environment, a hidden prompt or stdin, never from a flag."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from keysat.core.errors import InvalidInput

_MAX_BYTES = 1_000_000


def read_text(what: str, file: Path) -> str:
    """Read a small text file.

    Raises:
        InvalidInput: The file can't be read, is no text, or is too large.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InvalidInput(f"the {what} can't be read from {file}: it has more than {_MAX_BYTES:,} bytes.")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the {what} can't be read from {file} ({error}).") from None


def read_secret(what: str, variable: str, file: Path | None) -> str:
    """Read a secret from the file, else the environment variable, else the terminal or stdin's first line.

    Raises:
        InvalidInput: The file can't be read, or the secret is empty.
    """
    if file is not None:
        return read_text(what, file).strip()
    if value := os.environ.get(variable):
        return value.strip()
    value = _from_stdin(what).strip()
    if not value:
        raise InvalidInput(f"give the {what} on stdin, in a file{f', or in {variable}' if variable else ''}.")
    return value


def _from_stdin(what: str) -> str:
    """Return a line from stdin, or nothing if it is closed, empty or not text."""
    try:
        if sys.stdin is None:
            return ""
        return getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()
    except (EOFError, UnicodeDecodeError, OSError, ValueError):
        return ""
