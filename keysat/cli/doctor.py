"""`keysat doctor`: each check reports what it found, and the remedy."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from kombu.exceptions import OperationalError
from sqlalchemy import func, select

from keysat import migrations
from keysat.accounts.manage import list_accounts
from keysat.accounts.webhook_health import webhook_state
from keysat.cli import doctor_host as host
from keysat.cli.complaints import complaints
from keysat.cli.doctor_host import Broken
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, show_line, show_rows
from keysat.core.db import DATABASE, database_name, reading
from keysat.core.errors import BrokerUnavailable, KeysatError
from keysat.core.secrets import secret_box
from keysat.core.settings import Settings, broker_name, load_settings
from keysat.licenses.signer import installed_signer
from keysat.models import ProviderAccount
from keysat.net.untrusted import check_guard
from keysat.operations.status import Status, read_noticed, read_status
from keysat.providers.registry import provider_for
from keysat.tasks.app import app

MAX_SKEW_SECONDS = 2.0


@dataclass(frozen=True)
class Finding:
    """One check's result. `detail` includes the remedy if it is not ok."""

    what: str
    ok: bool
    detail: str


def doctor(as_json: AsJson = False) -> None:
    """Check everything Keysat needs, with a remedy for each failure. Exit 3 if something is broken."""
    findings = examine(load_settings())
    if as_json:
        show_rows([finding.__dict__ for finding in findings], as_json)
    else:
        for finding in findings:
            show_line(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(3)


def examine(settings: Settings) -> list[Finding]:
    """Run all checks, even if some fail."""
    findings = [
        _check("signing key", lambda: _signing_key_file(settings)),
        _check("credentials key", lambda: _secrets_key(settings)),
        _check("address guard", _address_guard),
        _check("database", _database),
    ]
    if findings[-1].ok:
        findings += [
            _check("schema", _schema),
            _check("clock", _clock),
            _check("database limits", host.limits),
            _check("signer", _signer),
            *_installation(settings),
        ]
    findings.append(_check("broker", lambda: _broker(settings)))
    if findings[-1].ok:
        findings.append(_check("workers", _workers))
    findings += [
        _check("web", lambda: host.web(settings)),
        _check("public URL", lambda: host.public_url(settings)),
        _check("mail", lambda: host.mail(settings)),
        _check("seller", lambda: host.seller(settings)),
        _check("disk", lambda: host.disk(settings)),
        _check("backups", lambda: host.backups(settings)),
    ]
    return [*findings, *noticed(settings)]


def noticed(settings: Settings) -> list[Finding]:
    """Return the findings that processes left: whether metrics are stored, and untrusted proxies."""
    found = read_noticed(settings)
    trusted = "no other proxy sent X-Forwarded-For"
    return [
        Finding("metrics", not found.metrics, " ".join(map(explained, found.metrics)) or str(settings.metrics_dir)),
        Finding("trusted proxies", not found.proxies, " ".join(map(explained, found.proxies)) or trusted),
    ]


def _installation(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about each account, about beat, and each complaint of `keysat status`."""
    status: Status | None = None
    try:
        with reading() as session:
            status = read_status(session, settings.scan_seconds)
    except KeysatError as error:
        yield Finding("status", ok=False, detail=explained(error))
    yield from _accounts(status)
    if status is not None:
        yield _check("beat", lambda: host.beat(status, settings))
        found = complaints(status)
        yield from (Finding("status", ok=False, detail=sentence) for sentence in found)
        if not found:
            yield Finding("status", ok=True, detail="nothing waits for you")


def _check(what: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what, ok=True, detail=probe())
    except KeysatError as error:
        return Finding(what, ok=False, detail=explained(error))


def _signing_key_file(settings: Settings) -> str:
    path = settings.signing_key_file
    if not path.exists():
        raise Broken(f"{path} is missing; create it with `keysat key init`, or restore it if licenses exist.")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise Broken(f"{path} can be read by others (mode {mode:04o}); run `chmod 600 {path}`.")
    return f"{path}, mode {mode:04o}"


def _secrets_key(settings: Settings) -> str:
    secret_box(settings)
    return "set in KEYSAT_SECRETS_KEY" if settings.secrets_key else str(settings.secrets_key_file)


def _address_guard() -> str:
    check_guard()
    return "calls to private addresses are refused"


def _database() -> str:
    with reading() as session:
        version = session.scalar(select(func.current_setting("server_version")))
    return f"PostgreSQL {version} at {database_name()}"


def _schema() -> str:
    migrations.require_head()
    return f"at {migrations.head()}"


def _clock() -> str:
    with reading() as session:
        there = session.scalar(select(func.clock_timestamp()))
    assert there is not None
    skew = abs((datetime.now(UTC) - there).total_seconds())
    if skew > MAX_SKEW_SECONDS:
        raise Broken(f"this machine's clock is {skew:.1f} s off the database's; let both follow NTP.")
    return f"{skew:.2f} s off the database's"


def _signer() -> str:
    return f"key {installed_signer(DATABASE).key_id} signs the licenses"


def _accounts(status: Status | None) -> Iterator[Finding]:
    try:
        with reading() as session:
            accounts = list_accounts(session)
    except KeysatError as error:
        yield Finding("providers", ok=False, detail=explained(error))
        return
    for account in accounts:
        yield _check(f"provider {account.name}", lambda account=account: _account(account))  # type: ignore[misc]
        if status is not None:
            yield _check(f"webhooks of {account.name}", lambda account=account: _webhooks(status, account))  # type: ignore[misc]


def _webhooks(status: Status, account: ProviderAccount) -> str:
    webhooks_missing = status.missing_webhooks_of(account.name)
    if webhooks_missing is not None:
        raise Broken(explained(webhooks_missing))
    return explained(webhook_state(account))


def _account(account: ProviderAccount) -> str:
    provider_for(account).check_credentials()
    if account.paused:
        raise Broken(f"it is paused ({account.pause_reason}), but works now; `keysat provider resume {account.name}`.")
    return f"{account.base_url} responds and accepts the credentials"


def _broker(settings: Settings) -> str:
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            channel: Any = connection.default_channel  # opening a channel is what contacts the server
            channel.close()
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable(broker_name(settings), str(error) or type(error).__name__) from error
    return broker_name(settings)


def _workers() -> str:
    answers = app.control.ping(timeout=1.5)
    if not answers:
        raise Broken("no worker responds; start `keysat up`, or `celery -A keysat.worker worker` and `beat`.")
    served = app.control.inspect(timeout=1.5).active_queues() or {}
    missing = {queue.name for queue in app.conf.task_queues} - {
        queue["name"] for queues in served.values() for queue in queues
    }
    if missing:
        names = ",".join(sorted(missing))
        raise Broken(f"no worker serves {names}; start one with `celery -A keysat.worker worker -Q {names}`.")
    return ", ".join(name for answer in answers for name in answer)
