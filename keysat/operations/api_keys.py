"""API keys of the admin API: created, shown once, hashed at rest, rotated with an overlap, revoked."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput, require
from keysat.core.hints import Hint
from keysat.models import ApiKey
from keysat.models.api_key import Scope
from keysat.models.audit import audit
from keysat.models.columns import seconds

PREFIX = "ksk_"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_USED_EVERY = timedelta(minutes=1)


def create_key(session: Session, name: str, scope: Scope, actor: str) -> str:
    """Create a key and return it. It can't be retrieved later.

    Raises:
        InvalidInput: the name has the wrong form.
        Conflict: a key of that name is in use.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"key name {name!r} must be lower-case letters, digits, '.', '_' or '-', 63 at most.")
    if session.scalar(select(ApiKey.id).where(ApiKey.name == name, ApiKey.usable(func.now()))) is not None:
        raise Conflict(f"there is an API key {name} already; rotate or revoke it, or choose another name.")
    return _write(session, name, scope, actor, "api_key.created")


def rotate_key(session: Session, name: str, overlap: timedelta, actor: str) -> str:
    """Create a new key with the same name and scope. The old one works until the overlap ends. Returns the new key.

    Raises:
        NotFound: no key of that name is in use.
    """
    scope = _require(session, name).scope
    _end(session, name, overlap)
    return _write(session, name, scope, actor, "api_key.rotated")


def revoke_key(session: Session, name: str, actor: str) -> None:
    """Revoke the keys of that name.

    Raises:
        NotFound: no key of that name is in use.
    """
    key = _require(session, name)
    session.execute(update(ApiKey).where(ApiKey.name == name, ~ApiKey.revoked).values(revoked_at=func.now()))
    audit(session, actor, "api_key.revoked", key.id, name=name)


def list_keys(session: Session) -> list[tuple[ApiKey, bool]]:
    """Return all keys, newest first, each with whether it is usable now."""
    rows = session.execute(select(ApiKey, ApiKey.usable(func.now())).order_by(ApiKey.id.desc()))
    return [(key, works) for key, works in rows]


def find_key(session: Session, key: str) -> ApiKey | None:
    """Return the row of a key that is usable now."""
    return session.scalar(select(ApiKey).where(ApiKey.key_hash == _hash(key), ApiKey.usable(func.now())))


def note_use(session: Session, key: ApiKey) -> None:
    """Record that a key was used, to the minute."""
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - _USED_EVERY)
    session.execute(update(ApiKey).where(ApiKey.id == key.id, stale).values(last_used_at=func.now()))


def _write(session: Session, name: str, scope: Scope, actor: str, action: str) -> str:
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(name=name, scope=scope, key_hash=_hash(key))
    session.add(row)
    session.flush()
    audit(session, actor, action, row.id, name=name, scope=str(scope))
    return key


def _end(session: Session, name: str, overlap: timedelta) -> None:
    ends = func.least(ApiKey.expires_at, func.now() + seconds(overlap.total_seconds()))
    session.execute(update(ApiKey).where(ApiKey.name == name, ApiKey.usable(func.now())).values(expires_at=ends))


def _require(session: Session, name: str) -> ApiKey:
    key = session.scalar(
        select(ApiKey).where(ApiKey.name == name, ApiKey.usable(func.now())).order_by(ApiKey.id.desc()).limit(1)
    )
    return require(key, "API key", name, Hint.LIST_API_KEYS)


def _hash(key: str) -> bytes:
    # A fast hash is enough, because the key has 32 random bytes and can't be guessed.
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
