"""The status as sentences with the next step, for `keysat status` and `keysat doctor`."""

from __future__ import annotations

from keysat.cli.hints import explained
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


def _of_invoices(status: Status) -> list[Advice]:
    backlog, found = status.backlog, []
    if backlog.failing:
        found.append(Advice(f"{backlog.failing} invoices got no usable response lately.", Hint.LIST_FAILING_INVOICES))
    if backlog.review:
        found.append(Advice(f"{backlog.review} invoices wait for your decision.", Hint.LIST_REVIEWS))
    return found


def _of_account(account: AccountStatus) -> Advice:
    if account.paused_at is None:
        return Advice(
            f"account {account.name} fails ({account.last_error}) and isn't called until "
            f"{account.open_until:%H:%M:%S} UTC; it goes on by itself."
        )
    paused = f"account {account.name} is paused ({account.pause_reason}), {account.due} invoices wait for it"
    resumes = "; should its key pass again, it resumes by itself" if account.rejected else ""
    hint = Hint.RENEW_ACCOUNT if account.rejected else Hint.RESUME_ACCOUNT
    return Advice(f"{paused}{resumes}.", hint, {"account": account.name})
