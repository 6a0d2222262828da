"""The account that runs PostgreSQL. PostgreSQL refuses to run as root, and no user should be created for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keysat.embedded.errors import NobodyShutOut

_OVERFLOW_ID = 65534


@dataclass(frozen=True)
class Account:
    """A prefix for commands, and the user and group ids that they switch to (None: the current ones)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def own(self, folder: Path) -> None:
        """As root, transfer a folder of root's or nobody's, with its contents, to this account.

        A machine can forbid user namespaces at one start and allow them at the next, so this works both ways.
        """
        uid, gid = (os.geteuid(), os.getegid()) if self.uid is None else (self.uid, self.gid or 0)
        owner = folder.stat().st_uid
        if os.geteuid() != 0 or owner == uid or owner not in {0, nobody().uid}:
            return
        for base, folders, files in os.walk(folder):
            for name in [*folders, *files]:
                os.chown(Path(base) / name, uid, gid, follow_symlinks=False)
        os.chown(folder, uid, gid)

    def check_reach(self, paths: Iterable[Path]) -> None:
        """Check that this account can enter folders and execute files.

        Raises:
            NobodyShutOut: the account can't access one of them.
        """
        if self.uid is None:
            return
        for path in paths:
            probe = subprocess.run(  # noqa: S603 - fixed words and our own path
                ["test", "-x", path],  # noqa: S607 - every system's
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                check=False,
            )
            if probe.returncode:
                raise NobodyShutOut(path)


def nobody() -> Account:
    """Return the unprivileged account that every system has. Only root can switch to it."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(uid=_OVERFLOW_ID, gid=_OVERFLOW_ID)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def unprivileged() -> Account:
    """Return the account for PostgreSQL: the current one, or for root a user namespace without root, or else nobody.

    In the namespace root has another user id. The files remain root's and no user is created.
    """
    if os.geteuid() != 0:
        return Account()
    prefix = ("unshare", "--user", f"--map-user={_OVERFLOW_ID}", f"--map-group={_OVERFLOW_ID}")
    if shutil.which("unshare"):
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603 - fixed words
        if probe.returncode == 0:
            return Account(prefix=prefix)
    return nobody()
