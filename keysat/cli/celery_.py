"""`keysat celery` and `keysat shell`: Celery with Keysat's app."""

from __future__ import annotations

import os
import sys

import typer

from keysat.cli.output import say


def celery(context: typer.Context) -> None:
    """Run Celery with Keysat's app: `keysat celery inspect active`, `keysat celery call keysat.scan_pending` ..."""
    _exec_celery(context.args)


def shell(context: typer.Context) -> None:
    """Open a Python shell with Keysat's app and tasks imported."""
    say("At hand: app, celery, and the tasks scan_pending, reconcile_invoice, issue_license.")
    _exec_celery(["shell", "--python", *context.args])


def _exec_celery(arguments: list[str]) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "keysat.worker", *arguments])  # noqa: S606 - our own module
