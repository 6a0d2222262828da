"""As whom PostgreSQL runs. It refuses root, and no user is to be created for it."""

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
    """Words put before a command, and the user and group ids it switches to (None: ours)."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def own(self, folder: Path) -> None:
        """As root: give a folder of root's or nobody's, with all that is in it, to this account.

        A machine may forbid user namespaces today and allow them tomorrow, so it works both ways.
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
        """Make sure that this account can enter folders and execute files.

        Raises:
            NobodyShutOut: it can't, for one of them.
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
    """Return the account without rights that every system has; only root can switch to it."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(uid=_OVERFLOW_ID, gid=_OVERFLOW_ID)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def unprivileged() -> Account:
    """Return who runs PostgreSQL: we, or for root a user namespace in which we aren't root, or else nobody.

    In the namespace root appears under another number; the files stay root's and nothing is created.
    """
    if os.geteuid() != 0:
        return Account()
    prefix = ("unshare", "--user", f"--map-user={_OVERFLOW_ID}", f"--map-group={_OVERFLOW_ID}")
    if shutil.which("unshare"):
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603 - fixed words
        if probe.returncode == 0:
            return Account(prefix=prefix)
    return nobody()
