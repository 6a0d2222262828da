"""License files and machine files, for programs without a network. The key is the secret."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from keysat.core.db import DATABASE
from keysat.licenses.files import DEFAULT_TTL, MAX_TTL, MIN_TTL, SignedFile, file_for_key
from keysat.licenses.state import Reason
from keysat.web.errors import documented
from keysat.web.fields import Fingerprint, KeyText, PublicInput
from keysat.web.limits import limit_validations
from keysat.web.state import read_key, signer

router = APIRouter(tags=["offline"], responses=documented(), dependencies=[Depends(limit_validations)])


class LicenseFileRequest(PublicInput):
    """A key, and for how many seconds its file is to be valid: an hour to a year, by default 30 days."""

    key: KeyText
    ttl: Annotated[int, Field(ge=MIN_TTL, le=MAX_TTL)] = DEFAULT_TTL


class MachineFileRequest(LicenseFileRequest):
    """A key, and the machine that the file is for. It has to have a seat."""

    fingerprint: Fingerprint


class FileResponse(BaseModel):
    """The file in `certificate`, or why there is none.

    It is valid from `issued` to `expiry`, which is `ttl` seconds, or less if the license ends before that.
    """

    ok: bool
    reason: Reason | None = None
    certificate: str | None = None
    issued: datetime | None = None
    expiry: datetime | None = None
    ttl: int | None = None


@router.post("/v1/licenses/file", response_model_exclude_none=True)
def license_file(body: LicenseFileRequest) -> FileResponse:
    """Get a license file: the license as it is now, signed, in Keygen's form."""
    return _response(file_for_key(DATABASE, signer(), read_key, body.key, body.ttl))


@router.post("/v1/machines/file", response_model_exclude_none=True)
def machine_file(body: MachineFileRequest) -> FileResponse:
    """Get a machine file, which is valid on that machine alone. `not_found` if the machine has no seat.

    A machine without a network gets its seat by a request of another one, with its fingerprint.
    """
    return _response(file_for_key(DATABASE, signer(), read_key, body.key, body.ttl, body.fingerprint))


def _response(made: SignedFile | Reason) -> FileResponse:
    if isinstance(made, Reason):
        return FileResponse(ok=False, reason=made)
    return FileResponse(ok=True, certificate=made.text, issued=made.issued, expiry=made.expiry, ttl=made.ttl)
