"""The Celery app where `celery -A keysat.worker` looks for it."""

from keysat.tasks.app import app

__all__ = ["app"]
