"""A pass: what the forms of `/me` carry, in place of a cookie, to prove whose purchases they are about.

A browser sends no pass by itself, so no page of another site can make it act. A pass is encrypted, ends after an hour,
and is part of a form's body, never of an address.
"""

from __future__ import annotations

import json
from uuid import UUID

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import License
from keysat.sales.recover import licenses_held

PASS_SECONDS = 3_600
_HOLDER, _LICENSE, _KEY = "pass of holder", "pass of license", "key"


class PassOver(NotFound):
    """A pass has ended, or it was none."""

    def __init__(self) -> None:
        super().__init__("page", "with that pass; ask for a new link, or paste the license key again")


def pass_of_holder(email: str) -> str:
    """Return a pass to all licenses that an address holds."""
    return _seal({_HOLDER: email})


def pass_of_license(row: License) -> str:
    """Return a pass to a license, for as long as it has its current key."""
    return _seal({_LICENSE: str(row.id), _KEY: row.key_issued_at.isoformat()})


def licenses_of_pass(session: Session, given: str) -> list[License]:
    """Return the licenses that a pass opens now, newest first.

    Raises:
        PassOver: it has ended, or it is none.
    """
    try:
        facts = json.loads(_box().decrypt(given.encode(), ttl=PASS_SECONDS))
    except (InvalidToken, ValueError):
        raise PassOver from None
    if _HOLDER in facts:
        return licenses_held(session, facts[_HOLDER])
    row = session.get(License, UUID(facts[_LICENSE])) if _LICENSE in facts else None
    if row is None or row.key_issued_at.isoformat() != facts[_KEY]:
        raise PassOver
    return [row]


def _seal(facts: dict[str, str]) -> str:
    return _box().encrypt(json.dumps(facts).encode()).decode()


def _box() -> MultiFernet:
    return secret_box(load_settings())
