"""`keysat status`: the backlog and what runs."""

from __future__ import annotations

from typing import Any

import typer

from keysat import migrations
from keysat.cli.complaints import complaints, notes
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.core.db import reading
from keysat.core.errors import KeysatError
from keysat.core.settings import load_settings
from keysat.embedded import stack
from keysat.operations.status import Status, read_noticed, read_status


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
    _show(state, stack.running(settings), as_json=as_json)
    noticed = [*map(explained, read_noticed(settings).all)]
    for sentence in [*complaints(state), *noticed, *notes(state)]:
        say(sentence)
    if state.trouble or noticed:
        raise typer.Exit(3)


def _show(status: Status, processes: dict[str, int], *, as_json: bool) -> None:
    """Print the numbers, the accounts and the running processes."""
    backlog = status.backlog
    numbers: dict[str, Any] = {
        "pending": backlog.pending,
        "due": backlog.due,
        "late": backlog.late,
        "oldest_due": backlog.oldest_due_at,
        "in_review": backlog.review,
        "settled_without_license": backlog.unfulfilled,
        "failing": backlog.failing,
        "abandoned": backlog.abandoned,
        "silent_webhooks": [webhooks_missing.account for webhooks_missing in status.silent],
        "dead_letters": status.dead_letters,
        "failed_tips": status.failed_tips,
        "held_tips": status.held_tips,
    }
    accounts = [account.__dict__ for account in backlog.accounts]
    if as_json:
        cases, versions = [breach.__dict__ for breach in status.breaches], status.versions.__dict__
        more = {"breaches": cases, "accounts": accounts, "processes": processes, "versions": versions}
        show_record({**numbers, **more}, as_json)
        return
    show_record(numbers, as_json)
    running = ", ".join(f"{name} ({pid})" for name, pid in processes.items()) or "none here"
    show_record({"processes": running}, as_json)
    show_rows(accounts, as_json)
