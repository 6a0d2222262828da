"""Manage the rows of provider accounts: add, find, remove, pause and resume them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from keysat.accounts.selling import sell_with_first
from keysat.core.errors import Conflict, InvalidInput, require
from keysat.core.hints import Hint
from keysat.core.secrets import seal
from keysat.models import Invoice, ProviderAccount, ProviderEvent
from keysat.models.audit import audit
from keysat.net.certificates import check_pem
from keysat.providers import registry
from keysat.providers.base import Provider
from keysat.providers.refusals import MIN_SECRET_BYTES, with_article

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_URL_PART = re.compile(r"[A-Za-z0-9_-]*")
_NO_STORE = "-"


@dataclass(frozen=True)
class NewAccount:
    """The input for a new account.

    Without a base URL, its kind's default is used. A kind without stores accepts no store id. If `is_sandbox` is None,
    a server on this machine is a sandbox. `ca_pem` contains certificates of authorities to trust for its server.
    """

    name: str
    kind: str
    api_key: str
    base_url: str = ""
    store_id: str = ""
    webhook_secret: str = ""
    is_sandbox: bool | None = None
    ca_pem: str | None = None


def build_account(box: MultiFernet, new: NewAccount) -> ProviderAccount:
    """Return the row of a new account, not stored yet, with encrypted credentials.

    Raises:
        InvalidInput: a value is malformed.
    """
    if not NAME.fullmatch(new.name):
        raise InvalidInput(
            f"account name {new.name[:80]!r} must be lower-case letters, digits, '.', '_' or '-', 63 at most."
        )
    adapter = registry.adapter_of(new.kind)
    url = base_url(adapter, new.base_url)
    return ProviderAccount(
        name=new.name,
        kind=new.kind,
        base_url=url,
        store_id=store_id(adapter, new.store_id),
        sealed_credentials=seal(box, credentials_of(adapter, new.api_key, new.webhook_secret)),
        is_sandbox=_on_this_machine(url) if new.is_sandbox is None else new.is_sandbox,
        ca_pem=None if new.ca_pem is None else check_pem(new.ca_pem),
    )


def add_account(session: Session, box: MultiFernet, new: NewAccount, actor: str) -> ProviderAccount:
    """Store a new account. The first one sells, and the first real one replaces a sandbox.

    Raises:
        InvalidInput: a value is malformed.
        Conflict: the name is taken.
    """
    if find_account(session, new.name) is not None:
        raise Conflict(f"there is a provider account {new.name} already; choose another name.")
    account = build_account(box, new)
    session.add(account)
    session.flush()
    facts = {name: getattr(account, name) for name in ("name", "kind", "base_url", "store_id", "is_sandbox")}
    audit(session, actor, "provider.added", account.id, **facts)
    sell_with_first(session, account, actor)
    return account


def remove_account(session: Session, name: str, actor: str) -> None:
    """Delete an account that no invoice is bound to.

    Raises:
        NotFound: no such account.
        Conflict: invoices are bound to it.
    """
    account = require_account(session, name)
    if session.scalar(select(Invoice.id).where(Invoice.provider_account_id == account.id).limit(1)) is not None:
        raise Conflict(f"invoices are bound to account {name}, so it stays.", Hint.PAUSE_ACCOUNT, account=name)
    session.execute(delete(ProviderEvent).where(ProviderEvent.provider_account_id == account.id))
    session.delete(account)
    audit(session, actor, "provider.removed", account.id, name=name)


def list_accounts(session: Session) -> list[ProviderAccount]:
    """Return all accounts, by name."""
    return list(session.scalars(select(ProviderAccount).order_by(ProviderAccount.name)))


def find_account(session: Session, name: str) -> ProviderAccount | None:
    """Return the account with this name, or None."""
    return session.scalar(select(ProviderAccount).where(ProviderAccount.name == name))


def require_account(session: Session, name: str) -> ProviderAccount:
    """Return the account with this name.

    Raises:
        NotFound: no such account.
    """
    return require(find_account(session, name), "provider account", name, Hint.LIST_ACCOUNTS)


def pause(session: Session, account_id: UUID, reason: str, actor: str) -> bool:
    """Pause the invoice checks of an account until it is resumed. Return False if it was paused already."""
    changed = session.scalar(
        update(ProviderAccount)
        .where(ProviderAccount.id == account_id, ~ProviderAccount.paused)
        .values(paused_at=func.now(), pause_reason=reason, recheck_at=None)
        .returning(ProviderAccount.id)
    )
    if changed is not None:
        audit(session, actor, "provider.paused", account_id, reason=reason)
    return changed is not None


def resume(session: Session, name: str, actor: str) -> None:
    """Resume an account and close its circuit breakers. The next scan claims its overdue invoices."""
    account = require_account(session, name)
    account.paused_at = account.pause_reason = account.recheck_at = None
    account.open_until = account.last_error = account.failed_invoice_id = None
    account.create_open_until = account.create_last_error = None
    account.failure_count = account.create_failure_count = account.recheck_count = 0
    audit(session, actor, "provider.resumed", account.id)


def credentials_of(adapter: type[Provider], api_key: str, webhook_secret: str) -> dict[str, str]:
    """Return the checked credentials in the form that is encrypted. Raises InvalidInput."""
    api_key, webhook_secret = _checked("API key", api_key), webhook_secret.strip()
    if webhook_secret and len(webhook_secret.encode()) < MIN_SECRET_BYTES:
        raise InvalidInput(f"the webhook secret must have at least {MIN_SECRET_BYTES} bytes, or be left out.")
    if adapter.token_in_url and not _URL_PART.fullmatch(webhook_secret):
        raise InvalidInput("the webhook secret becomes part of a URL; use letters, digits, '-' and '_' alone.")
    return {"api_key": api_key, "webhook_secret": webhook_secret}


def base_url(adapter: type[Provider], url: str) -> str:
    """Return the normalized URL, or the kind's default. Raises InvalidInput."""
    url = url or adapter.default_url or ""
    if not url:
        raise InvalidInput(f"{with_article(adapter.kind)} account needs a base URL; say where the server is.")
    return _checked_url(url)


def store_id(adapter: type[Provider], given: str) -> str:
    """Return the store id, or `-` for a kind without stores. Raises InvalidInput."""
    if adapter.has_stores:
        return _checked("store id", given)
    if given not in {"", _NO_STORE}:
        raise InvalidInput(f"{with_article(adapter.kind)} account has no store; leave the store id out.")
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


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
