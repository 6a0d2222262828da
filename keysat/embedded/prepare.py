"""Prepares an installation before its processes start: creates the schema and the keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet
from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat import migrations
from keysat.core.db import reading
from keysat.core.errors import SettingsError
from keysat.core.secrets import write_private
from keysat.core.settings import Settings
from keysat.licenses.signer import SigningKeyMissing, check_signer, create_signing_key
from keysat.models import ProviderAccount, WebhookEndpoint


def prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """Migrate the database, and create the keys that are missing.

    Raises:
        SigningKeyMissing: licenses were issued with a key that is missing. No new key is created.
        SecretsKeyMissing: stored credentials need a key that is missing. No new key is created.
    """
    before, after = migrations.upgrade()
    if before != after:
        say(f"The schema was brought from {before or 'nothing'} to {after}.")
    try:
        with reading() as session:
            check_secrets_key(session, settings)
            check_signer(session, settings.signing_key_file)
    except SigningKeyMissing as error:
        if error.licensed:
            raise
    for what in create_missing_keys(settings):
        say(f"Created {what}; back it up.")


class SecretsKeyMissing(SettingsError):
    """The key that encrypted stored credentials is missing."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the key that encrypted the stored credentials, {path}, is missing; restore it from your backup. Where it "
            "is lost for good, `keysat key init --credentials-lost` creates another; then enter each API key again "
            "(`keysat provider renew NAME`), and give each receiver a new one (`keysat webhook endpoint rotate NAME`)."
        )


def check_secrets_key(session: Session, settings: Settings) -> None:
    """Check that the key for stored credentials exists, if there are any.

    Raises:
        SecretsKeyMissing: credentials are stored, and the key is missing.
    """
    if settings.secrets_key or settings.secrets_key_file.exists():
        return
    stored = [session.scalar(select(table.id).limit(1)) for table in (ProviderAccount, WebhookEndpoint)]
    if any(stored):
        raise SecretsKeyMissing(settings.secrets_key_file)


def create_missing_keys(settings: Settings) -> list[str]:
    """Create the signing key and the secrets key if they are missing. Returns what was created."""
    created = []
    if not settings.signing_key_file.exists():
        create_signing_key(settings.signing_key_file)
        created.append(f"the signing key {settings.signing_key_file}")
    if not settings.secrets_key and not settings.secrets_key_file.exists():
        write_private(settings.secrets_key_file, Fernet.generate_key() + b"\n")
        created.append(f"the key for stored credentials {settings.secrets_key_file}")
    return created
