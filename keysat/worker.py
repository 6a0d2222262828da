"""The Celery app where `celery -A keysat.worker` looks for it."""

from keysat.core.errors import KeysatError
from keysat.tasks import app as tasks

app = tasks.app

__all__ = ["app"]


def _explained(error: KeysatError) -> str:
    from keysat.cli.hints import explained  # noqa: PLC0415 - a worker needs the command line only to refuse to start

    return explained(error)


tasks.explain = _explained
