"""The words of `keysat status`: its numbers, and a sentence with the remedy for each problem."""

from __future__ import annotations

from typing import Any

from keysat.cli.output import show_record, show_rows
from keysat.invoices.backlog import AccountStatus
from keysat.operations.status import Status


def complaints(status: Status) -> list[str]:
    """Return a sentence with the remedy for each problem that needs a person."""
    return [
        *map(str, status.breaches),
        *_of_invoices(status),
        *map(_of_account, status.failing_accounts),
        *map(str, status.silent),
    ]


def notes(status: Status) -> list[str]:
    """Return sentences about conditions that need no immediate action."""
    found = []
    if status.dead_letters:
        command = "`keysat webhook delivery list --status failed`"
        found.append(f"{status.dead_letters} outbound webhooks are dead letters: {command}.")
    if status.failed_tips:
        found.append(f"{status.failed_tips} tips failed: `keysat tip list --status failed`.")
    if status.held_tips:
        command = "`keysat tip list --status held`, then `keysat tip retry TIP --note`"
        found.append(f"{status.held_tips} tips wait for your decision: {command}.")
    return found


def show_status(status: Status, processes: dict[str, int], *, as_json: bool) -> None:
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
        "silent_webhooks": [silence.account for silence in status.silent],
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


def _of_invoices(status: Status) -> list[str]:
    backlog, found = status.backlog, []
    if backlog.failing:
        found.append(
            f"{backlog.failing} invoices got no usable answer lately: `keysat invoice list --failing`, and "
            "`keysat invoice acknowledge INVOICE --note ...` where nothing can be done."
        )
    if backlog.review:
        found.append(f"{backlog.review} invoices wait for your decision: `keysat invoice list --review`.")
    return found


def _of_account(account: AccountStatus) -> str:
    if account.paused_at is None:
        return (
            f"account {account.name} fails ({account.last_error}) and isn't asked until "
            f"{account.open_until:%H:%M:%S} UTC; it goes on by itself."
        )
    paused = f"account {account.name} is paused ({account.pause_reason}), {account.due} invoices wait for it"
    if account.rejected:
        return (
            f"{paused}: make a new API key at the provider and enter it with `keysat provider renew {account.name}`; "
            "should the old one pass again, the account resumes by itself."
        )
    return f"{paused}: `keysat provider resume {account.name}` when it may be asked again."
