"""Who may use the admin API: whoever brings a key; a key of scope `write` where something is changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from keysat.api_keys import find_key, note_use
from keysat.db import reading, transaction
from keysat.errors import Forbidden, Unauthorized
from keysat.models.api_key import Scope
from keysat.settings import load_settings
from keysat.web.limits import admit, client_address

_bearer = HTTPBearer(auto_error=False, description="An API key of `keysat api-key create`.")


def _read(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return _actor(request, given, Scope.READ)


def _write(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return _actor(request, given, Scope.WRITE)


def _actor(request: Request, given: HTTPAuthorizationCredentials | None, needed: Scope) -> str:
    """The name that the audit log gets. Counted before the key is looked at, so that nobody can try many."""
    admit(load_settings().rate_admin, "admin", client_address(request))
    with reading() as session:
        key = None if given is None else find_key(session, given.credentials)
    if key is None:
        raise Unauthorized("the admin API needs an API key that works: `Authorization: Bearer ksk_...`.")
    if needed is Scope.WRITE and key.scope != Scope.WRITE:
        raise Forbidden("this API key may read only; changes need one of scope write.")
    with transaction() as session:
        note_use(session, key)
    return f"api:{key.name}"


Reader = Annotated[str, Depends(_read)]
Writer = Annotated[str, Depends(_write)]
