"""Licenses by id and by invoice, and their state: one statement reads what decides whether a key is valid now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import LargeBinary, and_, bindparam, func, select
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.core.errors import require
from keysat.core.hints import Hint
from keysat.licenses.keys import BadKeyFormat, BadSignature, Payload
from keysat.licenses.prepared import Prepared
from keysat.models import License, Machine, Product
from keysat.models.license import LicenseStatus

# Reads a key and checks its signature. Raises BadKeyFormat or BadSignature, as keysat.licenses.keys.verify does.
KeyReader = Callable[[str], Payload]


class Reason(StrEnum):
    """Why a key is refused, in the terms of the published clients. The first one that applies is reported."""

    BAD_FORMAT = "bad_format"
    BAD_SIGNATURE = "bad_signature"
    NOT_FOUND = "not_found"
    PRODUCT_MISMATCH = "product_mismatch"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    FINGERPRINT_MISMATCH = "fingerprint_mismatch"
    TOO_MANY_MACHINES = "too_many_machines"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_RELEASES = "too_many_releases"


@dataclass(frozen=True)
class LicenseState:
    """The state of a license at `now`, the database's time, and the calling machine's seat, if it has one."""

    license_id: UUID
    product_id: UUID
    product_slug: str
    status: LicenseStatus
    is_trial: bool
    is_recurring: bool
    max_machines: int
    grace_seconds: int
    outage_seconds: int
    entitlements: list[str]
    fingerprint_hash: bytes | None
    issued_at: datetime
    expires_at: datetime | None
    rotated_at: datetime | None
    machine_id: UUID | None
    last_seen_at: datetime | None
    now: datetime

    @property
    def grace_until(self) -> datetime | None:
        """The end of the license's validity, including the grace period. None = perpetual."""
        grace = timedelta(seconds=self.grace_seconds + self.outage_seconds)
        return None if self.expires_at is None else self.expires_at + grace

    @property
    def in_grace_period(self) -> bool:
        """Whether the license has expired but is still valid."""
        expires_at, grace_until = self.expires_at, self.grace_until
        return expires_at is not None and grace_until is not None and expires_at < self.now <= grace_until

    @property
    def key_payload(self) -> Payload:
        """The content of the license's current key."""
        end = self.grace_until if self.is_recurring else self.expires_at
        return Payload(
            product_id=self.product_id,
            license_id=self.license_id,
            issued_at=int((self.rotated_at or self.issued_at).timestamp()),
            expires_at=None if end is None else int(end.timestamp()),
            is_trial=self.is_trial,
            fingerprint_hash=self.fingerprint_hash,
            entitlements=tuple(self.entitlements),
        )


@dataclass(frozen=True)
class Verdict:
    """The result for a key, which is valid if `reason` is None. `license_state` is None if no license was found.

    `active_count` is the number of seats taken, or None if they weren't counted.
    """

    reason: Reason | None
    license_state: LicenseState | None = None
    machine_id: UUID | None = None
    active_count: int | None = None


_licenses, _products, _machines = License.__table__.c, Product.__table__.c, Machine.__table__.c
_seat = and_(
    _machines.license_id == _licenses.id,
    _machines.fingerprint_hash == bindparam("fingerprint_hash", type_=LargeBinary),
    ~Machine.deactivated,
)
_LICENSE_STATE = Prepared(
    "keysat_standing",
    select(
        _licenses.id.label("license_id"),
        _licenses.product_id,
        _products.slug.label("product_slug"),
        _licenses.status,
        _licenses.is_trial,
        _licenses.is_recurring,
        _licenses.max_machines,
        _licenses.grace_seconds,
        _licenses.outage_seconds,
        _licenses.entitlements,
        _licenses.fingerprint_hash,
        _licenses.issued_at,
        _licenses.expires_at,
        _licenses.rotated_at,
        _machines.id.label("machine_id"),
        _machines.last_seen_at,
        func.now().label("now"),
    )
    .select_from(License.__table__.join(Product.__table__).outerjoin(Machine.__table__, _seat))
    .where(_licenses.id == bindparam("license_id")),
)


def evaluate(
    database: Database,
    read_key: KeyReader,
    key: str,
    product_slug: str | None = None,
    fingerprint_hash: bytes | None = None,
) -> Verdict:
    """Return whether a key is valid, without checking for a free seat. Invalid keys cost no query.

    A key that was replaced by a newer one is revoked, and shows nothing of the license.
    """
    try:
        payload = read_key(key)
    except BadKeyFormat:
        return Verdict(Reason.BAD_FORMAT)
    except BadSignature:
        return Verdict(Reason.BAD_SIGNATURE)
    with database.reading() as session:
        license_state = load_license_state(session, payload.license_id, fingerprint_hash)
    rotated_at = None if license_state is None else license_state.rotated_at
    if rotated_at is not None and payload.issued_at < int(rotated_at.timestamp()):
        return Verdict(Reason.REVOKED)
    return judge(license_state, product_slug, fingerprint_hash)


def load_license_state(session: Session, license_id: UUID, fingerprint_hash: bytes | None) -> LicenseState | None:
    """Read a license, its product and the seat of that fingerprint in one statement. None if there is no license."""
    row = _LICENSE_STATE.one_or_none(session.connection(), license_id=license_id, fingerprint_hash=fingerprint_hash)
    return None if row is None else LicenseState(**row._asdict())


def lock_license(session: Session, before: LicenseState) -> bool:
    """Lock a license until the transaction ends. Return False if its key was replaced since `before` was read."""
    locked = select(License.rotated_at).where(License.id == before.license_id).with_for_update(key_share=True)
    return session.scalars(locked).one() == before.rotated_at


def judge(license_state: LicenseState | None, product_slug: str | None, fingerprint_hash: bytes | None) -> Verdict:
    """Decide from the license state. Without a fingerprint, any machine is accepted."""
    if license_state is None:
        return Verdict(Reason.NOT_FOUND)
    return Verdict(_refusal(license_state, product_slug, fingerprint_hash), license_state, license_state.machine_id)


def _refusal(license_state: LicenseState, product_slug: str | None, fingerprint_hash: bytes | None) -> Reason | None:
    if product_slug not in {None, license_state.product_slug}:
        return Reason.PRODUCT_MISMATCH
    if license_state.status != LicenseStatus.ACTIVE:
        # A status of another version isn't valid here, and may be again: it is no reason to give up the license.
        return Reason.REVOKED if license_state.status == LicenseStatus.REVOKED else Reason.SUSPENDED
    if license_state.grace_until is not None and license_state.now > license_state.grace_until:
        return Reason.EXPIRED
    if fingerprint_hash is not None and license_state.fingerprint_hash not in {None, fingerprint_hash}:
        return Reason.FINGERPRINT_MISMATCH
    return None


def require_license(session: Session, license_id: UUID) -> License:
    """Return the license with that id.

    Raises:
        NotFound: no such license.
    """
    return require(session.get(License, license_id), "license", license_id, Hint.LIST_LICENSES)
