"""Add and change provider accounts, once the provider accepts their credentials.

No transaction is open during the check. If the provider refuses, nothing is stored. `unchecked` skips the check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.fernet import MultiFernet

from keysat.accounts.editing import changed_account, edit_account, renew_credentials, resealed, with_credentials
from keysat.accounts.manage import NewAccount, add_account, build_account, require_account
from keysat.core.db import Database
from keysat.models import ProviderAccount
from keysat.providers.registry import provider_for


def check_account(database: Database, name: str) -> ProviderAccount:
    """Check address and credentials of a stored account with a harmless request. Return the account.

    Raises:
        NotFound: no such account.
        CallFailed: the provider refuses them, gives no usable response, or can't be called.
    """
    with database.reading() as session:
        account = require_account(session, name)
    provider_for(account).check_credentials()
    return account


def check_and_add(
    database: Database, box: MultiFernet, new: NewAccount, actor: str, *, unchecked: bool = False
) -> ProviderAccount:
    """Store a new account. Raises as `check_account` and `add_account`."""
    _check(build_account(box, new), unchecked=unchecked)
    with database.transaction() as session:
        account = add_account(session, box, new, actor)
        session.refresh(account)
    return account


def check_and_edit(
    database: Database, name: str, changes: Mapping[str, Any], actor: str, *, unchecked: bool = False
) -> ProviderAccount:
    """Change an account. Raises as `check_account` and `edit_account`."""
    with database.reading() as session:
        changed = changed_account(require_account(session, name), changes)
    _check(changed, unchecked=unchecked)
    with database.transaction() as session:
        account = edit_account(session, name, changes, actor)
        session.refresh(account)
    return account


def check_and_renew(
    database: Database,
    box: MultiFernet,
    name: str,
    api_key: str,
    webhook_secret: str,
    actor: str,
    *,
    unchecked: bool = False,
) -> None:
    """Replace the credentials of an account and resume it. Raises as `check_account` and `resealed`."""
    with database.reading() as session:
        account = require_account(session, name)
    sealed = resealed(box, account, api_key, webhook_secret)
    _check(with_credentials(account, sealed), unchecked=unchecked)
    with database.transaction() as session:
        renew_credentials(session, name, sealed, actor)


def _check(account: ProviderAccount, *, unchecked: bool) -> None:
    if not unchecked:
        provider_for(account).check_credentials()
