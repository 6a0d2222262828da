"""Commands to run Keysat: `up`, `down`, `status`, `doctor`, `demo`, `celery` and `shell`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from keysat import migrations
from keysat.cli import doctor as checks
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, say, show_line, show_rows
from keysat.cli.status import complaints, notes, show_status
from keysat.core.db import reading
from keysat.core.errors import KeysatError
from keysat.core.settings import load_settings
from keysat.embedded import demo as demonstration
from keysat.embedded import stack
from keysat.embedded.prepare import prepare
from keysat.operations.status import read_noticed, read_status

_PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add these commands at the top level."""
    for command in (up, down, status, doctor, demo):
        app.command()(command)
    for passing_through in (celery, shell):
        app.command(context_settings=_PASS_THROUGH)(passing_through)


def up(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one a core.")] = None,
    flower: Annotated[bool, typer.Option(help="Show Flower, where it is installed.")] = True,
    web: Annotated[bool, typer.Option(help="Serve the HTTP API.")] = True,
) -> None:
    """Run Keysat here: embedded servers if no URL is set, migrations, web, worker, beat, Flower. Ctrl-C stops it."""
    settings = load_settings()
    worker_args = () if concurrency is None else (f"--concurrency={concurrency}",)
    stack.up(
        settings,
        prepare=lambda: prepare(settings, say),
        on_event=say,
        worker_args=worker_args,
        flower=None if flower else False,
        web=web,
    )


def down() -> None:
    """Stop the Keysat that runs in the data directory, and processes that a killed one left behind."""
    if not stack.down(load_settings(), say):
        say("nothing runs here")


def status(as_json: AsJson = False) -> None:
    """Show the backlog and running processes. Exit 3 if something waits for a person or the database is unavailable."""
    settings = load_settings()
    try:
        migrations.require_head()
        with reading() as session:
            state = read_status(session, settings.scan_seconds)
    except KeysatError as error:
        say(f"keysat: {explained(error)}")
        raise typer.Exit(3) from None
    show_status(state, stack.running(settings), as_json=as_json)
    noticed = [*map(explained, read_noticed(settings).all)]
    for sentence in [*complaints(state), *noticed, *notes(state)]:
        say(sentence)
    if state.trouble or noticed:
        raise typer.Exit(3)


def doctor(as_json: AsJson = False) -> None:
    """Check everything Keysat needs, with a remedy for each failure. Exit 3 if something is broken."""
    findings = checks.examine(load_settings())
    if as_json:
        show_rows([finding.__dict__ for finding in findings], as_json)
    else:
        for finding in findings:
            show_line(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch directory and say where it is.")] = False,
) -> None:
    """Run a demo: 200 invoices, 150 paid, every webhook dropped, a worker killed. Exit 0 only if all is licensed."""
    raise typer.Exit(demonstration.run_in_scratch(keep=keep))


def celery(context: typer.Context) -> None:
    """Run Celery with Keysat's app: `keysat celery inspect active`, `keysat celery call keysat.scan_pending` ..."""
    _exec_celery(context.args)


def shell(context: typer.Context) -> None:
    """Open a Python shell with Keysat's app and tasks imported."""
    say("At hand: app, celery, and the tasks scan_pending, reconcile_invoice, issue_license.")
    _exec_celery(["shell", "--python", *context.args])


def _exec_celery(arguments: list[str]) -> None:
    # A celeryconfig.py in the working directory is the operator's own, as with the celery command itself.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "celery", "-A", "keysat.worker", *arguments], environment)  # noqa: S606
