"""The known kinds of providers, and the adapter for an account's row.

A new kind is one file and one line in `_KINDS`. An adapter is imported when its kind is first used. For the metrics its
calls are timed, and those without a usable response are counted.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from cryptography.fernet import MultiFernet

from keysat.core.errors import AccountUnusable, InvalidInput, SettingsError
from keysat.core.secrets import secret_box, unseal
from keysat.core.settings import load_settings
from keysat.models import ProviderAccount
from keysat.net.certificates import tls_context
from keysat.providers.base import Provider

_KINDS: dict[str, str | type[Provider]] = {
    "btcpay": "keysat.providers.btcpay.adapter:BTCPay",
    "zaprite": "keysat.providers.zaprite.adapter:Zaprite",
    "opennode": "keysat.providers.opennode:OpenNode",
}
# The methods of the Protocol that call the provider. `parse_webhook` doesn't.
_CALLS = {name for name, value in vars(Provider).items() if inspect.isfunction(value) and name[0] != "_"} - {
    "parse_webhook"
}


class Account(Protocol):
    """The columns of a provider account that an adapter needs."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def store_id(self) -> str: ...
    @property
    def sealed_credentials(self) -> bytes: ...
    @property
    def ca_pem(self) -> str | None: ...


@dataclass(frozen=True)
class _Key:
    name: str
    kind: str
    base_url: str
    store_id: str
    sealed: bytes
    ca_pem: str | None


class _Measured:
    """An adapter whose calls are measured under the account's name."""

    def __init__(self, adapter: Provider, account_name: str) -> None:
        self._adapter, self._account_name = adapter, account_name

    def __getattr__(self, name: str) -> Any:
        from keysat.core import metrics  # noqa: PLC0415 - most commands make no call, and start without them

        attribute = getattr(self._adapter, name)
        return metrics.provider_call(self._account_name, name)(attribute) if name in _CALLS else attribute


_adapters: dict[_Key, Provider] = {}
# If a forked child shared a connection, each process could read the other's responses.
os.register_at_fork(after_in_child=_adapters.clear)


def register(adapter: type[Provider]) -> None:
    """Register an adapter under its kind."""
    _KINDS[adapter.kind] = adapter


def kinds() -> list[str]:
    """Return the kinds an account can have."""
    return sorted(_KINDS)


def adapter_of(kind: str) -> type[Provider]:
    """Return the adapter class of a kind, for properties shared by all its accounts.

    Raises:
        InvalidInput: no adapter of that kind.
    """
    adapter = _KINDS.get(kind)
    if adapter is None:
        raise InvalidInput(f"provider kind {kind!r} is not known; use one of {', '.join(kinds())}.")
    if isinstance(adapter, str):
        module, _, name = adapter.partition(":")
        adapter = _KINDS[kind] = getattr(import_module(module), name)
    return adapter


def provider_for(account: Account | ProviderAccount, box: MultiFernet | None = None) -> Provider:
    """Return the adapter for an account, cached with its connections for the life of the process.

    Changed credentials create a new adapter.

    Raises:
        AccountUnusable: no adapter of that kind, or the stored credentials or certificates can't be used.
    """
    key = _Key(
        account.name, account.kind, account.base_url, account.store_id, account.sealed_credentials, account.ca_pem
    )
    if key not in _adapters:
        try:
            _adapters[key] = cast("Provider", _Measured(_make(account, box), account.name))
        except (SettingsError, InvalidInput) as error:
            raise AccountUnusable(str(error), error.hint, **error.facts) from error
    return _adapters[key]


def _make(account: Account | ProviderAccount, box: MultiFernet | None) -> Provider:
    if account.kind not in _KINDS:
        raise InvalidInput(
            f"provider account {account.name} is of kind {account.kind!r}, which this version doesn't know; "
            f"it knows {', '.join(kinds())}."
        )
    settings = load_settings()
    credentials = unseal(box or secret_box(settings), account.sealed_credentials, f"account {account.name}", "api_key")
    make: type[Any] = adapter_of(account.kind)
    provider: Provider = make(
        account.base_url,
        account.store_id,
        credentials,
        deadline=settings.provider_timeout,
        max_bytes=settings.provider_max_bytes,
        tls=tls_context(settings.ca_file, account.ca_pem),
    )
    return provider
