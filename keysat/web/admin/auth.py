"""Authentication of the admin API: every request needs an API key, changes need one of scope `write`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from keysat.core.db import reading, transaction
from keysat.core.errors import Forbidden, InvalidInput, Unauthorized
from keysat.core.settings import load_settings
from keysat.models.api_key import Scope
from keysat.operations.api_keys import find_key, note_use
from keysat.web.limits import admit_client

_bearer = HTTPBearer(auto_error=False, description="An API key of `keysat api-key create`.")


def _read(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return _actor(request, given, Scope.READ)


def _write(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return _actor(request, given, Scope.WRITE)


def _actor(request: Request, given: HTTPAuthorizationCredentials | None, needed: Scope) -> str:
    """Return the name for the audit log. Requests are counted before the key is checked, to stop guessing."""
    admit_client(load_settings().rate_admin, "admin", request)
    with reading() as session:
        key = None if given is None else find_key(session, given.credentials)
    if key is None:
        raise Unauthorized("the admin API needs an API key that works: `Authorization: Bearer ksk_...`.")
    if needed is Scope.WRITE and key.scope != Scope.WRITE:
        raise Forbidden("this API key may read only; changes need one of scope write.")
    with transaction() as session:
        note_use(session, key)
    return f"api:{key.name}"


def known_query(request: Request) -> None:
    """Refuse unknown query parameters, as a mistyped filter must not list everything.

    Raises:
        InvalidInput: A parameter is unknown. The message lists the known ones.
    """
    known = set(_query_names(request.scope["route"].dependant))
    if unknown := sorted(set(request.query_params) - known):
        there_are = f"there are: {', '.join(sorted(known))}" if known else "there are none"
        raise InvalidInput(f"query parameter {unknown[0][:60]!a} isn't known here; {there_are}.")


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _query_names(needed)


Reader = Annotated[str, Depends(_read)]
Writer = Annotated[str, Depends(_write)]
