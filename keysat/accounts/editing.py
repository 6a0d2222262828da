"""Change a provider account: its name and address, or its credentials, which are first checked at the provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.fernet import MultiFernet
from sqlalchemy.orm import Session

from keysat.accounts.manage import (
    NAME,
    base_url,
    credentials_of,
    find_account,
    require_account,
    resume,
    store_id,
)
from keysat.core.errors import Conflict, InvalidInput, SettingsError
from keysat.core.secrets import seal, unseal
from keysat.models import ProviderAccount
from keysat.models.audit import audit
from keysat.net.certificates import check_pem
from keysat.providers import registry

CHANGEABLE = {"name", "base_url", "store_id", "is_sandbox", "ca_pem"}


def changed_account(account: ProviderAccount, changes: Mapping[str, Any]) -> ProviderAccount:
    """Return a copy of an account's row with changes, not stored, so that they can be checked at the provider first.

    Raises:
        InvalidInput: a field can't be changed, or a value is malformed.
    """
    if unknown := sorted(set(changes) - CHANGEABLE):
        raise InvalidInput(f"{', '.join(unknown)} can't be changed; {', '.join(sorted(CHANGEABLE))} can.")
    adapter = registry.adapter_of(account.kind)
    facts = {name: getattr(account, name) for name in (*CHANGEABLE, "kind", "sealed_credentials")} | dict(changes)
    if not NAME.fullmatch(facts["name"]):
        raise InvalidInput("an account's name must be lower-case letters, digits, '.', '_' or '-', 63 at most.")
    facts["base_url"] = base_url(adapter, facts["base_url"])
    facts["store_id"] = store_id(adapter, facts["store_id"])
    facts["ca_pem"] = None if not facts["ca_pem"] else check_pem(facts["ca_pem"])
    return ProviderAccount(**facts)


def edit_account(session: Session, name: str, changes: Mapping[str, Any], actor: str) -> ProviderAccount:
    """Change an account's name, address, store, sandbox flag or authorities. Its invoices stay bound to it.

    Raises:
        NotFound: no such account.
        InvalidInput: as `changed_account`.
        Conflict: the new name is taken.
    """
    account = require_account(session, name)
    wanted = changed_account(account, changes)
    if wanted.name != name and find_account(session, wanted.name) is not None:
        raise Conflict(f"there is a provider account {wanted.name} already; choose another name.")
    for field in CHANGEABLE:
        setattr(account, field, getattr(wanted, field))
    session.flush()
    audit(session, actor, "provider.changed", account.id, fields=sorted(changes), base_url=account.base_url)
    return account


def resealed(box: MultiFernet, account: ProviderAccount, api_key: str, webhook_secret: str = "") -> bytes:
    """Return new credentials for an account, encrypted.

    Without a new webhook secret, the old one is reused, unless its encryption key is lost.

    Raises:
        InvalidInput: a value is malformed.
    """
    try:
        kept = webhook_secret or unseal(box, account.sealed_credentials, account.name).get("webhook_secret", "")
    except SettingsError:
        kept = ""
    return seal(box, credentials_of(registry.adapter_of(account.kind), api_key, kept))


def with_credentials(account: ProviderAccount, sealed: bytes) -> ProviderAccount:
    """Return a copy of an account's row with other credentials, not stored, to check them at the provider first."""
    facts = {name: getattr(account, name) for name in (*CHANGEABLE, "kind")}
    return ProviderAccount(**facts, sealed_credentials=sealed)


def renew_credentials(session: Session, name: str, sealed: bytes, actor: str) -> None:
    """Replace an account's credentials and resume it.

    Raises:
        NotFound: no such account.
    """
    account = require_account(session, name)
    account.sealed_credentials = sealed
    audit(session, actor, "provider.credentials_renewed", account.id)
    resume(session, name, actor)
