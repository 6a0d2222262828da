"""The Celery app for `celery -A keysat.worker`.

`python -P -m keysat.worker worker ...` runs the same Celery command without imports from the working directory, which
the `celery` program puts first on the path while it imports an app.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn, cast

from keysat.core.errors import KeysatError
from keysat.tasks import app as tasks

app = tasks.app

__all__ = ["app", "run"]


# Celery's programs that run all the time, as `module:command`.
_PROGRAMS = {"worker": "celery.bin.worker:worker", "beat": "celery.bin.beat:beat", "flower": "flower.command:flower"}


def run() -> None:
    """Run Celery's command line with Keysat's app."""
    arguments = sys.argv[1:]
    sys.argv = ["celery", "-A", "keysat.worker", *arguments]
    name = arguments[0] if arguments else ""
    if name in {"beat", "flower"}:
        tasks.without_tasks()
    else:
        import keysat.tasks.sending  # noqa: PLC0415 - imported before Celery changes the path
        import keysat.tasks.tasks  # noqa: F401, PLC0415 - as above
    from celery import maybe_patch_concurrency  # noqa: PLC0415 - `celery -A keysat.worker` has no use for these

    if "multi" not in sys.argv:
        maybe_patch_concurrency()
    if name in _PROGRAMS and (name != "flower" or find_spec("flower")):
        _run_alone(name, arguments)
    from celery.bin.celery import celery  # noqa: PLC0415 - see above

    celery(auto_envvar_prefix="CELERY", prog_name="keysat celery")


def _run_alone(name: str, arguments: list[str]) -> NoReturn:
    """Run one of the programs. Celery's own group of commands would also import those of all plugins, and a shell."""
    import click  # noqa: PLC0415 - see `run`
    from celery.bin.base import CLIContext  # noqa: PLC0415 - see `run`

    module, _, attribute = _PROGRAMS[name].partition(":")
    group = click.Group("keysat celery", commands={name: getattr(import_module(module), attribute)})
    context = CLIContext(app=cast("Any", app), no_color="NO_COLOR" in os.environ, workdir=None)
    sys.exit(group.main(arguments, "keysat celery", obj=context, auto_envvar_prefix="CELERY"))


def _explained(error: KeysatError) -> str:
    from keysat.cli.hints import explained  # noqa: PLC0415 - a worker needs the command line only to refuse to start

    return explained(error)


tasks.explain = _explained


if __name__ == "__main__":
    run()
