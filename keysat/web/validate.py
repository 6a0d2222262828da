"""Validation of a license key for a product, a machine and the current time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from keysat.core.db import DATABASE
from keysat.core.errors import RateLimited
from keysat.licenses.seats import Caller
from keysat.licenses.seats import validate as examine
from keysat.licenses.state import LicenseState, Reason, Verdict
from keysat.web.errors import documented
from keysat.web.fields import Fingerprint, HostText, KeyText, Line, PublicInput
from keysat.web.limits import limit_validations
from keysat.web.state import read_key, signer

router = APIRouter(tags=["validate"])

_PROBLEMS = {status: text for status, text in documented().items() if status != 429}


class ValidateRequest(PublicInput):
    """The key, and what it must be valid for. A fingerprint takes a seat for its machine unless it has one."""

    key: KeyText
    product_slug: Line | None = None
    fingerprint: Fingerprint | None = None
    hostname: HostText | None = None
    platform: HostText | None = None


class Validated(BaseModel):
    """Whether the key is valid, otherwise the reason, and the license's fields if it was found. Times are UTC.

    `license_key` is the current key, if the given one is older, as after a renewal.

    Without `expires_at` the license is perpetual. `max_machines` 0 = unlimited.
    """

    ok: bool
    reason: Reason | None = None
    license_id: UUID | None = None
    product_id: UUID | None = None
    product_slug: str | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    grace_until: datetime | None = None
    in_grace_period: bool | None = None
    is_trial: bool | None = None
    entitlements: list[str] | None = None
    status: str | None = None
    machine_id: UUID | None = None
    max_machines: int | None = None
    license_key: str | None = None


@router.post("/v1/validate", response_model=Validated, responses=_PROBLEMS)
def validate(body: ValidateRequest, request: Request) -> JSONResponse:
    """Check whether a key is valid. The status is 200 for a refusal, too, which has a `reason`."""
    try:
        limit_validations(request)
    except RateLimited as error:
        refusal = {"ok": False, "reason": Reason.RATE_LIMITED}
        return JSONResponse(refusal, headers={"Retry-After": str(error.retry_after)})
    caller = None if body.fingerprint is None else Caller.of(body.fingerprint, body.hostname, body.platform)
    verdict = examine(DATABASE, read_key, body.key, body.product_slug, caller)
    return JSONResponse(_to_dict(verdict, body.key))


def _to_dict(verdict: Verdict, given: str) -> dict[str, Any]:
    """Return the fields of `Validated` as a dict, as building the model only to serialize it costs time."""
    facts = {"reason": verdict.reason, "machine_id": verdict.machine_id and str(verdict.machine_id)}
    if verdict.license_state is not None:
        facts |= _facts(verdict.license_state)
        if verdict.reason is None:
            facts["license_key"] = _newer_key(verdict.license_state, given)
    return {"ok": verdict.reason is None} | {name: fact for name, fact in facts.items() if fact is not None}


def _newer_key(license_state: LicenseState, given: str) -> str | None:
    """Return the license's current key, or None if it is the given one."""
    current = license_state.key_payload
    return None if read_key(given) == current else signer().sign(current)


def _facts(license_state: LicenseState) -> dict[str, Any]:
    return {
        "license_id": str(license_state.license_id),
        "product_id": str(license_state.product_id),
        "product_slug": license_state.product_slug,
        "issued_at": license_state.issued_at.isoformat(),
        "expires_at": license_state.expires_at and license_state.expires_at.isoformat(),
        "grace_until": license_state.grace_until and license_state.grace_until.isoformat(),
        "in_grace_period": license_state.in_grace_period,
        "is_trial": license_state.is_trial,
        "entitlements": license_state.entitlements,
        "status": license_state.status,
        "max_machines": license_state.max_machines,
    }
