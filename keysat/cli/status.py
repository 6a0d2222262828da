"""The words of `keysat status`: its numbers, and a sentence with the remedy for each problem."""

from __future__ import annotations

from typing import Any

from keysat.cli.hints import explained
from keysat.cli.output import show_record, show_rows
from keysat.core.hints import Advice, Hint, Hinted
from keysat.invoices.backlog import AccountStatus
from keysat.operations.status import Status


def complaints(status: Status) -> list[str]:
    """Return a sentence with the remedy for each problem that needs a person."""
    of_accounts = map(_of_account, status.failing_accounts)
    found: list[Hinted] = [*status.breaches, *_of_invoices(status), *of_accounts, *status.silent]
    return [*map(explained, found)]


def notes(status: Status) -> list[str]:
    """Return sentences about conditions that need no immediate action."""
    found = []
    if status.dead_letters:
        found.append(Advice(f"{status.dead_letters} outbound webhooks are dead letters.", Hint.LIST_DEAD_LETTERS))
    if status.failed_tips:
        found.append(Advice(f"{status.failed_tips} tips failed.", Hint.LIST_FAILED_TIPS))
    if status.held_tips:
        found.append(Advice(f"{status.held_tips} tips wait for your decision.", Hint.LIST_HELD_TIPS))
    return [*map(explained, found)]


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


def _of_invoices(status: Status) -> list[Advice]:
    backlog, found = status.backlog, []
    if backlog.failing:
        found.append(Advice(f"{backlog.failing} invoices got no usable answer lately.", Hint.LIST_FAILING_INVOICES))
    if backlog.review:
        found.append(Advice(f"{backlog.review} invoices wait for your decision.", Hint.LIST_REVIEWS))
    return found


def _of_account(account: AccountStatus) -> Advice:
    if account.paused_at is None:
        return Advice(
            f"account {account.name} fails ({account.last_error}) and isn't asked until "
            f"{account.open_until:%H:%M:%S} UTC; it goes on by itself."
        )
    paused = f"account {account.name} is paused ({account.pause_reason}), {account.due} invoices wait for it"
    resumes = "; should its key pass again, it resumes by itself" if account.rejected else ""
    hint = Hint.RENEW_ACCOUNT if account.rejected else Hint.RESUME_ACCOUNT
    return Advice(f"{paused}{resumes}.", hint, {"account": account.name})
