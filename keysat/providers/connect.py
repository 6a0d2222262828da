"""Connecting an account's webhooks: their secret, their URL, and whether one has come."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID, uuid4

from cryptography.fernet import MultiFernet
from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from keysat.models import ProviderAccount, ProviderEvent
from keysat.models.audit import audit
from keysat.money import Money
from keysat.providers.accounts import require_account
from keysat.providers.base import NewInvoice
from keysat.providers.registry import provider_for
from keysat.secrets import seal, unseal

_SECRET_BYTES = 32
# Not so little that a store with payment methods of a minimum amount would refuse it.
_TEST_PRICE = Money(1_000, "BTC")


def ensure_secret(session: Session, box: MultiFernet, name: str, *, renew: bool) -> tuple[ProviderAccount, str]:
    """The account and its webhook secret, made where there is none or a new one is wanted."""
    account = require_account(session, name)
    credentials = unseal(box, account.sealed_credentials, name)
    if renew or not credentials.get("webhook_secret"):
        credentials["webhook_secret"] = secrets.token_urlsafe(_SECRET_BYTES)
        account.sealed_credentials = seal(box, credentials)
        audit(session, "cli", "provider.webhook_secret_made", account.id)
    return account, credentials["webhook_secret"]


def webhook_url(account: ProviderAccount, secret: str, public_url: str) -> str:
    """Where the provider sends the account's webhooks; for a kind that doesn't sign, the secret is part of it."""
    url = f"{public_url}/v1/{account.kind}/webhook/{account.id}"
    return f"{url}/{secret}" if provider_for(account).token_in_url else url


def note_connected(session: Session, account_id: UUID) -> None:
    """Remember that the webhook is registered, so that its silence is noticed."""
    session.execute(
        update(ProviderAccount).where(ProviderAccount.id == account_id).values(webhook_connected_at=func.now())
    )
    audit(session, "cli", "provider.connected", account_id)


def probe() -> NewInvoice:
    """An invoice that nobody is to pay: that it is made, the provider tells by webhook."""
    order_id = f"keysat-webhook-test-{uuid4()}"
    return NewInvoice(order_id, _TEST_PRICE, "Keysat tests its webhook; this needs no payment")


def has_heard(session: Session, account_id: UUID, since: datetime) -> bool:
    """Whether a genuine webhook came in since that time of the database."""
    came = exists().where(ProviderEvent.provider_account_id == account_id, ProviderEvent.received_at >= since)
    return bool(session.scalar(select(came)))
