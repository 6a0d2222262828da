"""The status list, for programs without a network: what changed since keys were issued."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from pydantic import BaseModel

from keysat.core.db import reading, transaction
from keysat.core.errors import DatabaseBusy, DatabaseUnavailable
from keysat.core.logs import get_logger
from keysat.licenses.published import CHECK_SECONDS, last_body, last_list, refresh_list
from keysat.web.errors import documented
from keysat.web.limits import limit_validations
from keysat.web.state import signer

log = get_logger(__name__)

router = APIRouter(tags=["offline"], responses=documented())

# For so long a process serves its copy without a query.
KEPT_SECONDS = 30.0
_NOT_CHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is the list that `If-None-Match` names."}}


class SignedText(BaseModel):
    """A signed text. `sig` is an Ed25519 signature over the kind of the text, a slash, and `enc`. Both are base64."""

    enc: str
    sig: str
    alg: str


@dataclass(frozen=True)
class _Copy:
    sequence: int
    body: bytes
    etag: str


class Kept:
    """This process's copy of the newest list. One request at a time renews it, while others get what there is."""

    def __init__(self) -> None:
        self._renewing = Lock()
        self._copy: _Copy | None = None
        self._until = 0.0

    def get(self) -> _Copy:
        """Return the list, at most `KEPT_SECONDS` old. It may be older while the database is unavailable."""
        copy = self._copy
        if copy is None:
            return self._renew(None)
        if time.monotonic() >= self._until and self._renewing.acquire(blocking=False):
            try:
                return self._renew(copy)
            finally:
                self._renewing.release()
        return copy

    def _renew(self, copy: _Copy | None) -> _Copy:
        try:
            copy = _load(copy)
        except (DatabaseBusy, DatabaseUnavailable) as error:
            if copy is None:
                raise
            log.warning("status list not renewed", sequence=copy.sequence, reason=str(error))
        self._copy, self._until = copy, time.monotonic() + KEPT_SECONDS
        return copy


KEPT = Kept()


def _load(copy: _Copy | None) -> _Copy:
    """Return the newest list, which is `copy` if that has its number. Another one is issued if it is out of date."""
    installed = signer()  # before a connection is taken, as the first call takes one of its own
    with reading() as session:
        found = last_list(session)
    if found is None or not found.fresh:
        with transaction() as session:
            refresh_list(session, installed)
    elif copy is not None and copy.sequence == found.sequence:
        return copy
    with reading() as session:
        sequence, body = last_body(session)
    text = body.encode()
    return _Copy(sequence, text, f'"{hashlib.sha256(text).hexdigest()[:32]}"')


@router.get(
    "/v1/status-list",
    response_model=SignedText,
    responses=_NOT_CHANGED,
    dependencies=[Depends(limit_validations)],
)
def status_list(
    if_none_match: Annotated[str | None, Header(description="The `ETag` of the list that you have.")] = None,
) -> Response:
    """Get the signed list of licenses that were withdrawn or extended, or got a new key, since keys were issued.

    It is for programs without a network, and may be copied to a mirror or a USB stick. A program checks its signature,
    that it hasn't ended, and that it is not older than one it has seen. `docs/offline.md` of the sources describes it.
    """
    copy = KEPT.get()
    headers = {"ETag": copy.etag, "Cache-Control": f"public, max-age={CHECK_SECONDS}"}
    if if_none_match is not None and _names(if_none_match, copy.etag):
        return Response(status_code=304, headers=headers)
    return Response(copy.body, media_type="application/json", headers=headers)


def _names(if_none_match: str, etag: str) -> bool:
    """Whether a header names an ETag. A cache on the way may have marked it as weak."""
    return any(named.strip().removeprefix("W/") in {etag, "*"} for named in if_none_match.split(","))
