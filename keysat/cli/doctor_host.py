"""Checks of `keysat doctor` around the database: beat, web, public URL, disk, database limits, backups."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import func, select

from keysat.cli.hints import explained
from keysat.core.db import reading
from keysat.core.errors import KeysatError
from keysat.core.settings import Settings
from keysat.mail.samples import check_templates
from keysat.mail.send import mail_server
from keysat.net.certificates import tls_context
from keysat.net.client import HttpClient
from keysat.net.smtp_failed import SmtpFailed
from keysat.operations.status import Status

_MIN_FREE_BYTES, _MIN_FREE_SHARE = 500_000_000, 0.02
_MAX_BACKUP_DAYS = 2.0
_SECONDS = 5.0
_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


class Broken(KeysatError):
    """A check found something broken. The message states what, and the remedy."""


def beat(status: Status, settings: Settings) -> str:
    """Return when the last scan of beat ran."""
    ago = status.scanned_ago
    if ago is None or not -_SECONDS <= ago <= max(60.0, 4 * settings.scan_seconds):
        last = "no scan ever ran" if ago is None else f"the last scan ran {ago:,.0f} s ago"
        raise Broken(f"{last}: start beat and a worker of queue scan, as `keysat up` does.")
    return f"the last scan ran {ago:.0f} s ago"


def web(settings: Settings) -> str:
    """Check that the web server is reachable at the public URL."""
    client = HttpClient(
        settings.url, {}, deadline=_SECONDS, max_bytes=100_000, name="the web server", tls=tls_context(settings.ca_file)
    )
    try:
        client.get("/v1/pubkey")
    except KeysatError as error:
        raise Broken(f"{explained(error).rstrip('.')}; start `keysat web`, or correct KEYSAT_PUBLIC_URL.") from None
    return f"{settings.url} answers"


def mail(settings: Settings) -> str:
    """Check that the mail server takes mail, and that the templates can be used."""
    if not settings.mail_is_on:
        return "off, so buyers get no mail; KEYSAT_SMTP_URL turns it on"
    check_templates(settings)
    try:
        return replace(mail_server(settings), deadline=_SECONDS).probe()
    except SmtpFailed as error:
        raise Broken(f"{explained(error).rstrip('.')}; correct KEYSAT_SMTP_URL, or ask who runs the server.") from None


def seller(settings: Settings) -> str:
    """Return who buyers see, and what they don't."""
    host = urlsplit(settings.url).hostname
    name = settings.seller_name or f"{host}, the host of the public URL; KEYSAT_SELLER_NAME names you"
    help_at = settings.support_address or "buyers find no address to write to; KEYSAT_SUPPORT_ADDRESS names one"
    return f"{name}; {help_at}"


def public_url(settings: Settings) -> str:
    """Check that the public URL uses encryption."""
    parts = urlsplit(settings.url)
    local = parts.hostname in {"localhost", "::1"} or (parts.hostname or "").startswith("127.")
    if parts.scheme != "https" and not local:
        raise Broken(f"{settings.url} is not encrypted; put a proxy with TLS before it and set KEYSAT_PUBLIC_URL.")
    return f"{settings.url}{', reached from this machine alone' if local else ''}"


def disk(settings: Settings) -> str:
    """Return the free space for the data folder."""
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 1e9:.1f} GB free at {folder}"
    if usage.free < max(_MIN_FREE_BYTES, usage.total * _MIN_FREE_SHARE):
        raise Broken(f"only {free}; make room.")
    return free


def limits() -> str:
    """Return the limits that the database applies to our connections."""
    with reading() as session:
        found = {name: session.scalar(select(func.current_setting(name))) for name in _LIMITS}
        size = session.scalar(select(func.pg_size_pretty(func.pg_database_size(func.current_database()))))
    if missing := [name for name, value in found.items() if value in {"0", None}]:
        raise Broken(f"{', '.join(missing)} isn't limited; set it, as by ALTER ROLE ... SET {missing[0]} = '30s'.")
    return f"{', '.join(f'{name} {value}' for name, value in found.items())}; {size} stored"


def backups(settings: Settings) -> str:
    """Return the age of the newest backup, if KEYSAT_BACKUP_DIR is set."""
    if settings.backup_dir is None:
        return "not known; KEYSAT_BACKUP_DIR names the folder to watch"
    newest = max((path.stat().st_mtime for path in _files(settings.backup_dir)), default=None)
    if newest is None:
        raise Broken(f"{settings.backup_dir} (KEYSAT_BACKUP_DIR) holds no file; make a backup, as README says.")
    days = (time.time() - newest) / 86_400
    if days > _MAX_BACKUP_DAYS:
        raise Broken(f"the newest in {settings.backup_dir} is {days:.0f} days old; make one, as README says.")
    return f"the newest is {days * 24:.0f} hours old"


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from (path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise Broken(f"{folder} (KEYSAT_BACKUP_DIR) can't be read ({error.strerror}).") from None
