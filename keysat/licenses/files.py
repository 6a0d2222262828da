"""License files and machine files: a license's state now, signed, for programs without a network.

A file lasts for a time to live, and never longer than its license with its grace period. A machine file is only for a
machine that has a seat. The form is Keygen's: armored JSON with `enc`, `sig` and `alg`, and a content in the terms of
JSON:API, whose `meta` has `issued`, `expiry` and `ttl`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.core.errors import Conflict
from keysat.licenses.seats import Caller
from keysat.licenses.signed import Prefix, armor
from keysat.licenses.signer import Signer
from keysat.licenses.state import KeyReader, LicenseState, Reason, evaluate, judge, load_license_state
from keysat.models import License, Machine

MIN_TTL, DEFAULT_TTL, MAX_TTL = 3_600, 30 * 86_400, 366 * 86_400
_NOUNS = {Prefix.LICENSE: "LICENSE FILE", Prefix.MACHINE: "MACHINE FILE"}
Node = dict[str, Any]


class NoFile(Conflict):
    """A license isn't valid, or a machine has no seat of it, so there is no file."""

    def __init__(self, license_id: UUID, reason: Reason) -> None:
        self.reason = reason
        why = "the machine has no seat of it" if reason == Reason.NOT_FOUND else f"it is refused as {reason}"
        super().__init__(f"license {license_id} gets no file: {why}.")


@dataclass(frozen=True)
class SignedFile:
    """A file, valid from `issued` to `expiry`, both in whole seconds."""

    text: str
    issued: datetime
    expiry: datetime

    @property
    def ttl(self) -> int:
        """For how many seconds it is valid."""
        return int((self.expiry - self.issued).total_seconds())


def file_for_key(
    database: Database, signer: Signer, read_key: KeyReader, key: str, ttl: int, fingerprint: str | None = None
) -> SignedFile | Reason:
    """Return the license file of a key, or the machine file with a fingerprint. Or why there is none.

    The reason is `not_found` if the machine has no seat.
    """
    fingerprint_hash = None if fingerprint is None else Caller.of(fingerprint).fingerprint_hash
    verdict = evaluate(database, read_key, key, fingerprint_hash=fingerprint_hash)
    if verdict.reason is not None or verdict.license_state is None:
        return verdict.reason or Reason.NOT_FOUND
    with database.reading() as session:
        row = session.get_one(License, verdict.license_state.license_id)
        if row.rotated_at != verdict.license_state.rotated_at:
            return Reason.REVOKED  # replaced since: the new key isn't for the holder of the old one
        try:
            return sign_file(session, signer, row, ttl, fingerprint_hash, fingerprint)
        except NoFile as refusal:
            return refusal.reason


def sign_file(
    session: Session,
    signer: Signer,
    row: License,
    ttl: int = DEFAULT_TTL,
    fingerprint_hash: bytes | None = None,
    fingerprint: str | None = None,
) -> SignedFile:
    """Return the file of a license, or that of its machine whose fingerprint has this SHA-256. `ttl` is in seconds.

    The file has the fingerprint itself where it is given.

    Raises:
        NoFile: the license isn't valid now, or the machine has no seat.
        SigningKeyMismatch: another key signed the license.
    """
    verdict = judge(load_license_state(session, row.id, fingerprint_hash), None, fingerprint_hash)
    state = verdict.license_state
    if verdict.reason is not None or state is None:
        raise NoFile(row.id, verdict.reason or Reason.NOT_FOUND)
    owned = _license(row, state, signer.key_for(row))
    included = [_product(state), *_entitlements(state)]
    if fingerprint_hash is None:
        return _sign(signer, Prefix.LICENSE, owned, included, state, ttl)
    if state.machine_id is None:
        raise NoFile(row.id, Reason.NOT_FOUND)
    machine = _machine(session.get_one(Machine, state.machine_id), fingerprint)
    return _sign(signer, Prefix.MACHINE, machine, [owned, *included], state, ttl)


def _sign(
    signer: Signer, prefix: Prefix, data: Node, included: list[Node], state: LicenseState, ttl: int
) -> SignedFile:
    issued = state.now.replace(microsecond=0)
    expiry = issued + timedelta(seconds=ttl)
    if state.grace_until is not None:
        expiry = min(expiry, state.grace_until)
    meta = {"issued": _time(issued), "expiry": _time(expiry), "ttl": int((expiry - issued).total_seconds())}
    content = json.dumps({"data": data, "included": included, "meta": meta}, separators=(",", ":"))
    return SignedFile(armor(_NOUNS[prefix], signer.sign_text(prefix, content.encode())), issued, expiry)


def _license(row: License, state: LicenseState, key: str) -> Node:
    return {
        "type": "licenses",
        "id": str(row.id),
        "attributes": {
            "key": key,
            "expiry": _time(row.key_ends_at),
            "status": "ACTIVE",
            "suspended": False,
            "maxMachines": row.max_machines or None,
            "created": _time(row.issued_at),
            "metadata": {"isTrial": row.is_trial, "graceUntil": _time(state.grace_until)},
        },
        "relationships": {"product": _link("products", row.product_id), "policy": _link("policies", row.policy_id)},
    }


def _machine(row: Machine, fingerprint: str | None) -> Node:
    return {
        "type": "machines",
        "id": str(row.id),
        "attributes": {
            "fingerprint": fingerprint,
            "fingerprintSha256": row.fingerprint_hash.hex(),
            "name": row.hostname,
            "hostname": row.hostname,
            "platform": row.platform,
            "created": _time(row.activated_at),
        },
        "relationships": {"license": _link("licenses", row.license_id)},
    }


def _product(state: LicenseState) -> Node:
    return {"type": "products", "id": str(state.product_id), "attributes": {"code": state.product_slug}}


def _entitlements(state: LicenseState) -> list[Node]:
    return [{"type": "entitlements", "id": slug, "attributes": {"code": slug}} for slug in state.entitlements]


def _link(kind: str, row_id: UUID) -> Node:
    return {"data": {"type": kind, "id": str(row_id)}}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
