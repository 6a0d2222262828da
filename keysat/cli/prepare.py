"""Prepares an installation in a process of its own, because `keysat up` would keep the libraries of migrations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from keysat.cli.hints import explained
from keysat.core.errors import KeysatError
from keysat.core.settings import Settings, load_settings
from keysat.core.texts import printable
from keysat.embedded.commands import child_environment


class NotPrepared(KeysatError):
    """The schema or the keys couldn't be brought in place."""


def prepare_apart(settings: Settings, say: Callable[[str], None]) -> None:
    """Run `keysat.embedded.prepare.prepare` in a child process, and repeat what it says.

    Raises:
        NotPrepared: it failed. The sentence is the child's.
    """
    command = [sys.executable, "-P", "-m", __name__]
    last = None
    with subprocess.Popen(  # noqa: S603 - our own module
        command,
        env=child_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        start_new_session=True,  # a Ctrl-C in the terminal stops the supervisor, which waits for it
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if last is not None:
                say(last)
            last = line.rstrip("\n")
    if child.returncode:
        raise NotPrepared(last or f"the preparation ended with status {child.returncode}.")
    if last is not None:
        say(last)


def main() -> int:
    """Prepare the environment's installation. Each sentence is a line on stdout, a refusal is the last one."""
    from keysat.embedded.prepare import prepare  # noqa: PLC0415 - see the top of the file

    try:
        prepare(load_settings(), lambda sentence: print(printable(sentence), flush=True))
    except KeysatError as error:
        print(printable(explained(error)), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
