"""Connect a provider's webhooks: create a secret, register our URL at the provider, and verify that a webhook arrives.

The secret is committed before it is sent to the provider, so that the first webhook signed with it can be verified.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import uuid4

from cryptography.fernet import MultiFernet
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.accounts.manage import require_account
from keysat.core.db import Database
from keysat.core.errors import KeysatError
from keysat.core.hints import Advice, Hint
from keysat.core.money import Money
from keysat.core.secrets import seal, unseal
from keysat.models import ProviderAccount, ProviderEvent
from keysat.models.audit import audit
from keysat.providers.base import NewInvoice
from keysat.providers.refusals import NotSupported
from keysat.providers.registry import adapter_of, provider_for

# Above the dust limit, below which a store without Lightning creates no invoice.
_TEST_PRICE = Money(1_000, "BTC")


@dataclass(frozen=True)
class Connection:
    """The URL of an account's webhooks since `began`, by the database's clock.

    `url_is_secret`: anyone who knows the URL can impersonate the provider. `by_hand` is the reason why the URL wasn't
    registered, or None. `needless`: nothing is registered, since each invoice carries the URL.
    """

    account: ProviderAccount
    url: str = field(repr=False)
    url_is_secret: bool
    began: datetime
    by_hand: str | None = None
    needless: bool = False


class NoWebhookCame(KeysatError):
    """No webhook arrived within the wait."""

    def __init__(self, connection: Connection, our_url: str, seconds: float) -> None:
        name = connection.account.name
        if connection.by_hand is not None:
            super().__init__(
                f"no webhook of {name} arrived within {seconds:g} s. Once the URL is entered at the provider, the next "
                "payment's webhook connects it.",
                Hint.TEST_ACCOUNT,
                account=name,
            )
            return
        super().__init__(
            f"no webhook of {name} arrived within {seconds:g} s, though the provider accepted the URL and made an "
            f"invoice. Is {our_url} reachable from the provider (try `curl {our_url}/v1/pubkey` on its machine), does "
            "the web server run (its /readyz tells), does a firewall or proxy refuse it? The provider's own list of "
            "webhook deliveries shows the failures.",
            Hint.RECONNECT_ACCOUNT,
            account=name,
        )


def connect(
    database: Database, box: MultiFernet, name: str, our_url: str, *, new_secret: bool = False, actor: str
) -> Connection:
    """Register our webhook at an account's provider.

    A webhook secret is created if the account has none or `new_secret` is set. `our_url` is Keysat's URL without a
    trailing slash.

    Raises:
        NotFound: no account of that name.
        NotSupported: a new secret was requested, and the provider signs with the API key.
        SettingsError: its stored credentials can't be decrypted.
        RemoteError: the provider didn't register it. The account's secret is stored, so it is safe to retry.
    """
    with database.transaction() as session:
        account = require_account(session, name)
        adapter = adapter_of(account.kind)
        if adapter.callback_per_invoice:
            return _needless(session, account, our_url, new_secret=new_secret)
        secret = _secret_of(session, box, account, actor, new=new_secret)
        began = session.scalars(select(func.clock_timestamp())).one()
    url = webhook_url(our_url, account, secret)
    try:
        provider_for(account, box).connect_webhook(url, secret)
    except NotSupported as error:
        return Connection(account, url, adapter.token_in_url, began, by_hand=str(error))
    with database.transaction() as session:
        session.get_one(ProviderAccount, account.id).webhook_connected_at = func.now()
        audit(session, actor, "provider.webhook_connected", account.id)
    return Connection(account, url, adapter.token_in_url, began)


def webhook_url(our_url: str, account: ProviderAccount, secret: str = "") -> str:
    """Return the URL of the account's webhooks. It ends with the secret if the provider doesn't sign."""
    url = f"{our_url}/v1/{account.kind}/webhook/{account.id}"
    return f"{url}/{secret}" if adapter_of(account.kind).token_in_url else url


def make_test_invoice(account: ProviderAccount) -> str:
    """Create an invoice at the provider to trigger a webhook. It isn't meant to be paid. Return the provider's id.

    Raises:
        RemoteError: the provider didn't create it.
    """
    order_id = f"keysat-webhook-test-{uuid4()}"
    wanted = NewInvoice(order_id, _TEST_PRICE, "A test of Keysat's webhook, not to be paid")
    return provider_for(account).create_invoice(wanted).provider_invoice_id


def has_arrived(session: Session, connection: Connection, test_invoice: str | None) -> bool:
    """Whether a webhook arrived about the test invoice, or without one, any webhook since the connection began."""
    account = ProviderAccount
    if test_invoice is None:
        since = select(account.id).where(account.id == connection.account.id, account.last_event_at > connection.began)
        return session.scalar(since) is not None
    about_it = select(ProviderEvent.id).where(
        ProviderEvent.provider_account_id == connection.account.id, ProviderEvent.provider_invoice_id == test_invoice
    )
    return session.scalar(about_it.limit(1)) is not None


def doubt(our_url: str, provider_url: str) -> Advice | None:
    """Return what may prevent a remote provider from reaching us safely, or None."""
    if _is_this_machine(provider_url):
        return None
    if _is_this_machine(our_url):
        sentence = f"only this machine can reach {our_url}, and the provider is elsewhere."
        return Advice(sentence, Hint.SET_PUBLIC_URL)
    if urlsplit(our_url).scheme != "https":
        return Advice(f"webhooks to {our_url} can be read and changed on their way.", Hint.SET_PUBLIC_URL)
    return None


def _needless(session: Session, account: ProviderAccount, our_url: str, *, new_secret: bool) -> Connection:
    if new_secret:
        raise NotSupported(account.kind, "have a webhook secret of ours; it signs with the account's API key")
    began = session.scalars(select(func.clock_timestamp())).one()
    return Connection(account, webhook_url(our_url, account), url_is_secret=False, began=began, needless=True)


def _secret_of(session: Session, box: MultiFernet, account: ProviderAccount, actor: str, *, new: bool) -> str:
    credentials = unseal(box, account.sealed_credentials, f"account {account.name}")
    if not credentials.get("webhook_secret") or new:
        credentials["webhook_secret"] = secrets.token_urlsafe(32)
        account.sealed_credentials = seal(box, credentials)
        audit(session, actor, "provider.webhook_secret_made", account.id)
    return credentials["webhook_secret"]


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
