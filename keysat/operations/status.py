"""The status of the installation, read once for the command line, the HTTP API, the metrics and `keysat doctor`.

It contains facts. `keysat/cli` and `keysat/web` put them into words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from keysat import __version__
from keysat.accounts.webhook_health import WebhooksMissing, silent_accounts
from keysat.core.hints import Advice, Hinted
from keysat.core.metric_files import trouble_in
from keysat.core.notices import METRICS, PROXY, notices
from keysat.core.settings import Settings
from keysat.invoices.backlog import AccountStatus, Backlog, read_backlog
from keysat.models import TaskRun
from keysat.operations.invariants import INVARIANTS, Breach, broken
from keysat.tips.manage import count_failed, count_held
from keysat.webhooks.deliveries import count_dead


@dataclass(frozen=True)
class Versions:
    """The versions of Keysat, of its schema in the database, and of PostgreSQL."""

    keysat: str
    schema: str
    postgresql: str


@dataclass(frozen=True)
class Status:
    """The backlog, broken invariants, and accounts without webhooks, at one moment.

    `dead_letters` are outbound webhooks that failed for good, `held_tips` wait for a person's decision. `scanned_ago`
    is in seconds, or None before any scan.
    """

    versions: Versions
    backlog: Backlog
    breaches: tuple[Breach, ...]
    silent: tuple[WebhooksMissing, ...]
    dead_letters: int
    failed_tips: int
    held_tips: int
    scanned_ago: float | None

    @property
    def trouble(self) -> bool:
        """Whether something needs a person's attention."""
        return bool(self.breaches or self.backlog.trouble or self.silent)

    @property
    def alarms(self) -> tuple[Breach | WebhooksMissing, ...]:
        """What should never be, as the log reports it."""
        return (*self.breaches, *self.silent)

    @property
    def breach_counts(self) -> dict[str, int]:
        """The number of cases by invariant, 0 for those that are not broken."""
        return dict.fromkeys((invariant.name for invariant in INVARIANTS), 0) | {
            breach.invariant: breach.count for breach in self.breaches
        }

    @property
    def failing_accounts(self) -> tuple[AccountStatus, ...]:
        """The accounts that are not called now: paused, or with an open circuit breaker."""
        return tuple(
            account
            for account in self.backlog.accounts
            if account.paused_at is not None or account.open_until is not None
        )

    def missing_webhooks_of(self, account: str) -> WebhooksMissing | None:
        """Return what is wrong with the webhooks of the account with this name, or None."""
        return next((missing for missing in self.silent if missing.account == account), None)


def read_status(session: Session, scan_seconds: float) -> Status:
    """Read the status. `scan_seconds` is the interval of the scan."""
    scanned = select(func.extract("epoch", func.now() - TaskRun.last_run_at)).where(TaskRun.name == "scan_pending")
    ago = session.scalar(scanned)
    return Status(
        versions=_versions(session),
        backlog=read_backlog(session),
        breaches=tuple(broken(session, scan_seconds)),
        silent=tuple(silent_accounts(session)),
        dead_letters=count_dead(session),
        failed_tips=count_failed(session),
        held_tips=count_held(session),
        scanned_ago=None if ago is None else float(ago),
    )


@dataclass(frozen=True)
class Noticed:
    """What processes noticed: metrics that are not stored, and proxies that are not trusted.

    They come from files and from the broker, so they are no part of `Status`, which only needs the database.
    """

    metrics: tuple[Hinted, ...]
    proxies: tuple[Hinted, ...]

    @property
    def all(self) -> tuple[Hinted, ...]:
        """Both."""
        return (*self.metrics, *self.proxies)


def read_noticed(settings: Settings) -> Noticed:
    """Read what processes noticed within the last day. Nothing if the broker can't be reached."""
    found = notices(settings)
    metrics = [Advice(notice.sentence) for notice in found if notice.kind == METRICS]
    proxies = [Advice(notice.sentence) for notice in found if notice.kind == PROXY]
    return Noticed(_distinct([*trouble_in(settings.metrics_dir), *metrics]), _distinct(proxies))


def _distinct(found: list[Advice]) -> tuple[Hinted, ...]:
    return tuple({str(advice): advice for advice in found}.values())


def _versions(session: Session) -> Versions:
    revision = text("(SELECT version_num FROM alembic_version)")
    schema, postgres = session.execute(select(revision, func.current_setting("server_version"))).one()
    return Versions(__version__, schema, postgres)
