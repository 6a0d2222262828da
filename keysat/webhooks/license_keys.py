"""Put a license's key into its event right before it is sent, to endpoints that ask for it. No key is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

from sqlalchemy.orm import Session

from keysat.models import License
from keysat.models.license import LicenseStatus

# Derives the key of a license.
KeyOf = Callable[[License], str]


def with_key(session: Session, key_of: KeyOf, license_id: UUID, body: bytes) -> bytes:
    """Return the body with the license's current key. It is null if the license was withdrawn or transferred since.

    Raises:
        SettingsError: the license was signed with another key than the installed one.
    """
    row = session.get(License, license_id)
    valid = row is not None and row.status == LicenseStatus.ACTIVE and row.transferred_at is None
    envelope = json.loads(body)
    envelope["data"]["license_key"] = key_of(row) if row is not None and valid else None
    return json.dumps(envelope, separators=(",", ":")).encode()
