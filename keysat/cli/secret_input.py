"""Secrets for commands: from a file, the environment, a hidden prompt or stdin, never from a flag."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from keysat.errors import InvalidInput


def read_secret(what: str, variable: str, file: Path | None) -> str:
    """Read a secret from the named file, else the environment variable, else the terminal or stdin's first line.

    Raises:
        InvalidInput: the file can't be read, or nothing was given.
    """
    if file is not None:
        try:
            return file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the {what} can't be read from {file} ({error}).") from None
    if value := os.environ.get(variable):
        return value.strip()
    value = getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not value.strip():
        raise InvalidInput(f"give the {what} on stdin, in a file, or in {variable}.")
    return value.strip()
