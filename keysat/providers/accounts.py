"""Provider accounts as rows: adding, finding, pausing, resuming, and renewing credentials."""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import delete, func, select, sql, update
from sqlalchemy.orm import Session

from keysat.errors import Conflict, InvalidInput, KeysatError, NotFound, SettingsError
from keysat.models import Invoice, ProviderAccount, ProviderEvent
from keysat.models.audit import audit
from keysat.providers import registry
from keysat.providers.base import MIN_SECRET_BYTES, Provider
from keysat.secrets import seal, unseal


class AccountPaused(KeysatError):
    """Nothing can be charged with a paused account."""

    def __init__(self, name: str, reason: str | None) -> None:
        super().__init__(f"provider account {name} is paused ({reason}); `keysat provider resume {name}`.")


class NoAccount(KeysatError):
    """There is nobody to charge with."""

    def __init__(self) -> None:
        super().__init__("there is no provider account to charge with; `keysat provider add` adds one.")


_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_URL_PART = re.compile(r"[A-Za-z0-9_-]*")
_NO_STORE = "-"


def add_account(
    session: Session,
    box: MultiFernet,
    *,
    name: str,
    kind: str,
    base_url: str = "",
    store_id: str = "",
    api_key: str,
    webhook_secret: str = "",
    actor: str = "cli",
) -> ProviderAccount:
    """Store a new account, its credentials encrypted.

    Without a base URL it has its kind's own; a kind without stores takes no store id.

    Raises:
        InvalidInput: a value has the wrong form.
        Conflict: the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"account name {name!r} must be lower-case letters, digits, '.', '_' or '-', 63 at most.")
    adapter = registry.adapter_of(kind)
    if find_account(session, name) is not None:
        raise Conflict(f"there is a provider account {name} already; choose another name.")
    account = ProviderAccount(
        name=name,
        kind=kind,
        base_url=_base_url(adapter, base_url),
        store_id=_store_id(adapter, store_id),
        sealed_credentials=seal(box, _credentials(adapter, api_key, webhook_secret)),
    )
    session.add(account)
    session.flush()
    audit(
        session,
        actor,
        "provider.added",
        account.id,
        name=name,
        kind=kind,
        base_url=account.base_url,
        store_id=account.store_id,
    )
    return account


def renew_credentials(
    session: Session,
    box: MultiFernet,
    name: str,
    *,
    api_key: str,
    webhook_secret: str = "",
    actor: str = "cli",
) -> None:
    """Replace an account's API key and let it be asked again.

    Without a new webhook secret the old one stays, unless the key that encrypted it is lost.
    """
    account = require_account(session, name)
    try:
        kept = webhook_secret or unseal(box, account.sealed_credentials, name).get("webhook_secret", "")
    except SettingsError:
        kept = ""
    account.sealed_credentials = seal(box, _credentials(registry.adapter_of(account.kind), api_key, kept))
    audit(session, actor, "provider.credentials_renewed", account.id)
    resume(session, name, actor)


def remove_account(session: Session, name: str, actor: str = "cli") -> None:
    """Delete an account that no invoice is bound to.

    Raises:
        NotFound: there is none of that name.
        Conflict: invoices are bound to it.
    """
    account = require_account(session, name)
    if session.scalar(select(Invoice.id).where(Invoice.provider_account_id == account.id).limit(1)) is not None:
        raise Conflict(f"invoices are bound to account {name}, so it stays; `keysat provider pause {name}` rests it.")
    session.execute(delete(ProviderEvent).where(ProviderEvent.provider_account_id == account.id))
    session.delete(account)
    audit(session, actor, "provider.removed", account.id, name=name)


def find_account(session: Session, name: str) -> ProviderAccount | None:
    """The account of that name."""
    return session.scalar(select(ProviderAccount).where(ProviderAccount.name == name))


def require_account(session: Session, name: str) -> ProviderAccount:
    """The account of that name.

    Raises:
        NotFound: there is none.
    """
    account = find_account(session, name)
    if account is None:
        raise NotFound("provider account", name, "`keysat provider list` shows them.")
    return account


def choose_account(session: Session, name: str | None = None) -> ProviderAccount:
    """The account to charge with: the one of that name, else the oldest that can be asked now, else the oldest.

    Raises:
        NotFound: there is none of that name.
        NoAccount: there is none at all.
        AccountPaused: it is paused, and so are the others where no name was given.
    """
    if name is not None:
        account = require_account(session, name)
    else:
        resting = func.coalesce(ProviderAccount.open_until > func.now(), sql.false())
        paused = ProviderAccount.paused_at.is_not(None)
        first = (
            select(ProviderAccount).order_by(paused, resting, ProviderAccount.created_at, ProviderAccount.id).limit(1)
        )
        found = session.scalar(first)
        if found is None:
            raise NoAccount
        account = found
    if account.paused_at is not None:
        raise AccountPaused(account.name, account.pause_reason)
    return account


def pause(session: Session, account_id: UUID, reason: str, actor: str) -> bool:
    """Stop asking for this account's invoices until it is resumed; False when it was paused already."""
    changed = session.scalar(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ProviderAccount.paused_at.is_(None))
        .values(paused_at=func.now(), pause_reason=reason)
        .returning(ProviderAccount.id)
    )
    if changed is not None:
        audit(session, actor, "provider.paused", account_id, reason=reason)
    return changed is not None


def pause_rejected(session: Session, account_id: UUID, sealed_credentials: bytes, reason: str) -> None:
    """Pause an account whose credentials were rejected, unless they were renewed since the provider was asked."""
    same = select(ProviderAccount.id).where(
        ProviderAccount.id == account_id, ProviderAccount.sealed_credentials == sealed_credentials
    )
    if session.scalar(same.with_for_update()) is not None:
        pause(session, account_id, reason, "reconcile")


def resume(session: Session, name: str, actor: str = "cli") -> None:
    """Ask again, with the circuit breaker closed; what is due is claimed by the next scan."""
    account = require_account(session, name)
    account.paused_at = account.pause_reason = account.open_until = account.last_error = None
    account.failure_count = 0
    audit(session, actor, "provider.resumed", account.id)


def _credentials(adapter: type[Provider], api_key: str, webhook_secret: str) -> dict[str, str]:
    api_key, webhook_secret = _checked("API key", api_key), webhook_secret.strip()
    if webhook_secret and len(webhook_secret.encode()) < MIN_SECRET_BYTES:
        raise InvalidInput(f"the webhook secret must have at least {MIN_SECRET_BYTES} bytes, or be left out.")
    if adapter.token_in_url and not _URL_PART.fullmatch(webhook_secret):
        raise InvalidInput("the webhook secret becomes part of a URL; use letters, digits, '-' and '_' alone.")
    return {"api_key": api_key, "webhook_secret": webhook_secret}


def _base_url(adapter: type[Provider], url: str) -> str:
    url = url or adapter.default_url or ""
    if not url:
        raise InvalidInput(f"a {adapter.kind} account needs a base URL; say where the server is.")
    return _checked_url(url)


def _store_id(adapter: type[Provider], store_id: str) -> str:
    if adapter.has_stores:
        return _checked("store id", store_id)
    if store_id not in {"", _NO_STORE}:
        raise InvalidInput(f"a {adapter.kind} account has no store; leave the store id out.")
    return _NO_STORE


def _checked(what: str, value: str) -> str:
    value = value.strip()
    if not value or not value.isprintable() or not value.isascii():
        raise InvalidInput(f"the {what} is empty or has characters that can't be in one.")
    return value


def _checked_url(url: str) -> str:
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        extras = parts.query or parts.fragment or parts.username or parts.port == 0
    except ValueError:
        parts, extras = urlsplit(""), "unreadable"
    if parts.scheme not in {"http", "https", "fake"} or not parts.hostname or extras:
        raise InvalidInput(
            f"the base URL {url!r} must look like https://btcpay.example.com, without password or query."
        )
    return url
