"""The status of the installation, shown by the command line, the admin API and `keysat doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.accounts.webhook_health import Silence, silent_accounts
from keysat.invoices.backlog import Gauge, read_gauge
from keysat.models import TaskRun
from keysat.operations.invariants import Breach, broken
from keysat.tips.manage import count_failed, count_held
from keysat.webhooks.deliveries import count_dead


@dataclass(frozen=True)
class Status:
    """The backlog, broken invariants and silent accounts. `scanned_ago` is in seconds, or None before any scan."""

    gauge: Gauge
    breaches: tuple[Breach, ...]
    silent: tuple[Silence, ...]
    dead_letters: int
    failed_tips: int
    held_tips: int
    scanned_ago: float | None

    @property
    def trouble(self) -> bool:
        """Whether something needs a person's attention."""
        return bool(self.breaches or self.gauge.trouble or self.silent)

    def complaints(self) -> list[str]:
        """Return a sentence with the remedy for each problem that needs a person."""
        return [*map(str, self.breaches), *_remedies(self.gauge), *map(str, self.silent)]

    def hints(self) -> list[str]:
        """Return sentences about conditions that need no immediate action."""
        hints = []
        if self.dead_letters:
            command = "`keysat webhook delivery list --status failed`"
            hints.append(f"{self.dead_letters} outbound webhooks are dead letters: {command}.")
        if self.failed_tips:
            hints.append(f"{self.failed_tips} tips failed: `keysat tip list --status failed`.")
        if self.held_tips:
            command = "`keysat tip list --status held`, then `keysat tip retry TIP --note`"
            hints.append(f"{self.held_tips} tips wait for your decision: {command}.")
        return hints


def read_status(session: Session, scan_seconds: float) -> Status:
    """Read the status. `scan_seconds` is the interval of the scan."""
    scanned = select(func.extract("epoch", func.now() - TaskRun.last_run_at)).where(TaskRun.name == "scan_pending")
    ago = session.scalar(scanned)
    return Status(
        gauge=read_gauge(session),
        breaches=tuple(broken(session, scan_seconds)),
        silent=tuple(silent_accounts(session)),
        dead_letters=count_dead(session),
        failed_tips=count_failed(session),
        held_tips=count_held(session),
        scanned_ago=None if ago is None else float(ago),
    )


def _remedies(gauge: Gauge) -> list[str]:
    sentences = []
    if gauge.failing:
        sentences.append(
            f"{gauge.failing} invoices got no usable answer lately: `keysat invoice list --failing`, and "
            "`keysat invoice acknowledge INVOICE --note ...` where nothing can be done."
        )
    if gauge.review:
        sentences.append(f"{gauge.review} invoices wait for your decision: `keysat invoice list --review`.")
    for account in gauge.accounts:
        if account.paused_at is not None:
            sentences.append(
                f"account {account.name} is paused ({account.pause_reason}), {account.due} invoices wait for it: "
                f"{_resume(account.name, rejected=account.rejected)}"
            )
        elif account.open_until is not None:
            sentences.append(
                f"account {account.name} fails ({account.last_error}) and isn't asked until "
                f"{account.open_until:%H:%M:%S} UTC; it goes on by itself."
            )
    return sentences


def _resume(name: str, *, rejected: bool) -> str:
    if rejected:
        return (
            f"make a new API key at the provider and enter it with `keysat provider renew {name}`; should the old one "
            "pass again, the account resumes by itself."
        )
    return f"`keysat provider resume {name}` when it may be asked again."
