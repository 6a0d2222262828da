"""Creates Keysat's folders: private ones, and the one for the embedded servers' sockets."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from keysat.embedded.errors import FolderUnusable


def make_private(path: Path) -> None:
    """Create a folder with mode 0700. An existing folder is left unchanged.

    Raises:
        FolderUnusable: the folder can't be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or "it can't be made"
        raise FolderUnusable(path, cause, "set KEYSAT_DATA_DIR to a folder that you may write") from error


def make_run_dir(path: Path, also: int | None = None) -> None:
    """Create the folder of the sockets with mode 0700, or check the owner of an existing one and set that mode.

    The mode is the embedded servers' only protection, and in /tmp another user could have created the folder first.
    `also` is a second user id that may own it.

    Raises:
        FolderUnusable: the path is a link, isn't a folder, or belongs to another user.
    """
    make_private(path)
    found = path.lstat()
    remedy = "remove it, or set KEYSAT_DATA_DIR to another folder"
    if not stat.S_ISDIR(found.st_mode):
        raise FolderUnusable(path, "it is a link, not a folder", remedy)
    if found.st_uid not in {os.geteuid(), also}:
        # Root may remove an empty folder, which is then created again.
        with suppress(OSError):
            path.rmdir()
            make_run_dir(path, also)
            return
        raise FolderUnusable(path, f"it belongs to the user id {found.st_uid}", remedy)
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
