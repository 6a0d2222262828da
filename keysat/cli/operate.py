"""Running Keysat: `up`, `down`, `status`, `doctor`, `demo`, `celery` and `shell`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from keysat import migrations
from keysat.cli import doctor as checks
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.db import reading
from keysat.embedded import demo as demonstration
from keysat.embedded import stack
from keysat.embedded.prepare import prepare
from keysat.invariants import broken
from keysat.invoices.gauge import Gauge, read_gauge
from keysat.providers.silence import silent_accounts
from keysat.settings import load_settings
from keysat.tips.manage import count_failed, count_held
from keysat.webhooks.deliveries import count_dead

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
    """Run Keysat here: embedded servers where no URL is set, migrations, web, worker, beat, Flower. Ctrl-C stops it."""
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
    """Stop the Keysat that runs in the data directory, and whatever a killed one left behind."""
    if not stack.down(load_settings(), say):
        say("nothing runs here")


def status(as_json: AsJson = False) -> None:
    """Tell what is owed and what runs; exit 3 when something waits for a person."""
    settings = load_settings()
    migrations.require_head()
    with reading() as session:
        gauge, silent = read_gauge(session), silent_accounts(session)
        breaches = broken(session, settings.scan_seconds)
        told = {"dead_letters": count_dead(session), "failed_tips": count_failed(session)}
        told["held_tips"] = count_held(session)
    processes = stack.running(settings)
    numbers: dict[str, Any] = {
        "pending": gauge.pending,
        "due": gauge.due,
        "late": gauge.late,
        "oldest_due": gauge.oldest_due_at,
        "in_review": gauge.review,
        "settled_without_license": gauge.unfulfilled,
        "failing": gauge.failing,
        "abandoned": gauge.abandoned,
        "silent_webhooks": [one.account for one in silent],
        **told,
    }
    accounts = [account.__dict__ for account in gauge.accounts]
    if as_json:
        cases = [breach.__dict__ for breach in breaches]
        show_record({**numbers, "breaches": cases, "accounts": accounts, "processes": processes}, as_json)
    else:
        show_record(numbers, as_json)
        show_record(
            {"processes": ", ".join(f"{name} ({pid})" for name, pid in processes.items()) or "none here"}, False
        )
        show_rows(accounts, as_json)
    alarms = [f"{found.what}: {found.detail}" for found in checks.noticed(settings) if not found.ok]
    for sentence in [*map(str, breaches), *_remedies(gauge), *map(str, silent), *alarms, *_hints(told)]:
        say(sentence)
    if breaches or gauge.trouble or silent or alarms:
        raise typer.Exit(3)


def _remedies(gauge: Gauge) -> list[str]:
    sentences = []
    if gauge.failing:
        sentences.append(f"{gauge.failing} invoices got no usable answer lately: `keysat invoice list --failing`.")
    if gauge.review:
        sentences.append(f"{gauge.review} invoices wait for your decision: `keysat invoice list --review`.")
    for account in gauge.accounts:
        if account.paused_at is not None:
            sentences.append(
                f"account {account.name} is paused ({account.pause_reason}), {account.due} invoices wait for it: "
                f"`keysat provider test {account.name}`, then `keysat provider resume {account.name}`."
            )
        elif account.open_until is not None:
            sentences.append(
                f"account {account.name} fails ({account.last_error}) and is left alone "
                f"until {account.open_until:%H:%M:%S} UTC."
            )
    return sentences


def _hints(told: dict[str, int]) -> list[str]:
    """What nobody must do something about at once, but may want to."""
    hints = {
        "dead_letters": "outbound webhooks are dead letters: `keysat webhook delivery list --status failed`",
        "failed_tips": "tips failed: `keysat tip list --status failed`",
        "held_tips": "tips wait for your decision: `keysat tip list --status held`, then `keysat tip retry TIP --note`",
    }
    return [f"{told[name]} {hint}." for name, hint in hints.items() if told[name]]


def doctor(as_json: AsJson = False) -> None:
    """Check everything Keysat needs, each with its remedy; exit 3 when something is broken."""
    findings = checks.examine(load_settings())
    if as_json:
        show_rows([finding.__dict__ for finding in findings], as_json)
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch directory and say where it is.")] = False,
) -> None:
    """See it work: 200 invoices, 150 paid, every webhook dropped, a worker killed; exit 0 only if all is licensed."""
    raise typer.Exit(demonstration.run_in_scratch(keep=keep))


def celery(context: typer.Context) -> None:
    """Run Celery with Keysat's app: `keysat celery inspect active`, `keysat celery call keysat.scan_pending` ..."""
    _exec_celery(context.args)


def shell(context: typer.Context) -> None:
    """Open a Python shell with Keysat's app and tasks at hand."""
    say("At hand: app, celery, and the tasks scan_pending, reconcile_invoice, issue_license.")
    _exec_celery(["shell", "--python", *context.args])


def _exec_celery(arguments: list[str]) -> None:
    # A celeryconfig.py in the working directory is the operator's own, as with the celery command itself.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "celery", "-A", "keysat.worker", *arguments], environment)  # noqa: S606
