"""The Celery app for `celery -A keysat.worker`.

`python -P -m keysat.worker worker ...` runs the same Celery command without imports from the working directory, which
the `celery` program puts first on the path while it imports an app.
"""

import sys

from keysat.core.errors import KeysatError
from keysat.tasks import app as tasks

app = tasks.app

__all__ = ["app", "run"]


def run() -> None:
    """Run Celery's command line with Keysat's app."""
    from celery import maybe_patch_concurrency  # noqa: PLC0415 - `celery -A keysat.worker` has no use for these
    from celery.bin.celery import celery  # noqa: PLC0415 - see above

    import keysat.tasks.tasks  # noqa: F401, PLC0415 - imported before Celery changes the path

    sys.argv = ["celery", "-A", "keysat.worker", *sys.argv[1:]]
    if "multi" not in sys.argv:
        maybe_patch_concurrency()
    celery(auto_envvar_prefix="CELERY", prog_name="keysat celery")


def _explained(error: KeysatError) -> str:
    from keysat.cli.hints import explained  # noqa: PLC0415 - a worker needs the command line only to refuse to start

    return explained(error)


tasks.explain = _explained


if __name__ == "__main__":
    run()
