"""The folders that Keysat makes: private ones, and the one with the embedded servers' sockets."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from keysat.embedded.errors import FolderUnusable


def make_private(path: Path) -> None:
    """Make a folder of mode 0700 where there is none; one that exists is left as it is.

    Raises:
        FolderUnusable: it can't be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or "it can't be made"
        raise FolderUnusable(path, cause, "set KEYSAT_DATA_DIR to a folder that you may write") from error


def make_run_dir(path: Path, also: int | None = None) -> None:
    """Make the folder of the sockets with mode 0700, or make sure that it is ours and give it that mode.

    Its mode is the embedded servers' only guard, and in /tmp others could have made it first. `also` is a
    second user id that may own it.

    Raises:
        FolderUnusable: it is a link, no folder, or belongs to somebody else.
    """
    make_private(path)
    found = path.lstat()
    remedy = "remove it, or set KEYSAT_DATA_DIR to another folder"
    if not stat.S_ISDIR(found.st_mode):
        raise FolderUnusable(path, "it is a link, not a folder", remedy)
    if found.st_uid not in {os.geteuid(), also}:
        # Root may clear away an empty one; it is then made anew.
        with suppress(OSError):
            path.rmdir()
            make_run_dir(path, also)
            return
        raise FolderUnusable(path, f"it belongs to the user id {found.st_uid}", remedy)
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
