"""Error responses of the API: `{"ok": false, "error": "<code>", "message": "..."}`, never a stack trace.

Codes and statuses follow the contract of the published clients. Details for the operator (addresses, hosts) go to the
log, not to the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from keysat.core.errors import (
    Conflict,
    DatabaseBusy,
    DatabaseUnavailable,
    Forbidden,
    InvalidInput,
    KeysatError,
    NotFound,
    NotPaid,
    RateLimited,
    RemoteError,
    RemoteRefused,
    SalesUnavailable,
    TooBusy,
    Unauthorized,
)
from keysat.core.hints import Hint, hint_fields
from keysat.core.logs import get_logger

log = get_logger(__name__)

_BY_KIND: tuple[tuple[type[KeysatError], int], ...] = (
    (InvalidInput, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (NotPaid, 409),
    (RateLimited, 429),
    (RemoteError, 502),
)
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "rate_limited",
    500: "internal_error",
    502: "upstream_error",
    503: "service_unavailable",
}
VALIDATE = "/v1/validate"
_UNAVAILABLE = "the service can't do that at the moment; try again later."
_NO_SALES = "payments can't be taken right now; nothing was charged. Try again later."
_UPSTREAM = "the payment provider gave no usable response; try again later."
_UPSTREAM_REFUSED = "the payment provider refused the request."


class Problem(BaseModel):
    """An error response."""

    ok: Literal[False] = False
    error: str
    message: str


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error response. A status without a code in the contract uses the nearest code."""
    code = _CODES.get(status, "bad_request" if status < 500 else "service_unavailable")
    return JSONResponse({"ok": False, "error": code, "message": message}, status, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for OpenAPI. Every route may also return 400, 413, 429 and 503."""
    every = {400, 413, 429, 503, *statuses}
    return {status: {"model": Problem, "description": _CODES.get(status, "bad_request")} for status in every}


def install(app: FastAPI, shown: Callable[[Request, Response], Response]) -> None:
    """Install handlers that return every error in the contract's format, or as `shown` makes of it."""

    def add(kind: type[Exception], handler: Callable[[Request, Exception], JSONResponse]) -> None:
        async def handle(request: Request, error: Exception) -> Response:
            return shown(request, handler(request, error))

        app.add_exception_handler(kind, handle)

    add(KeysatError, _refused)
    add(RequestValidationError, _invalid)
    add(HTTPException, _http)
    add(Exception, _unexpected)


def status_of(error: KeysatError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), 503)


def described(error: KeysatError) -> str:
    """Return the sentence of an error for a client of the API, with the field that is missing.

    Other hints are for operators and are left out.
    """
    match error.hint:
        case Hint.GIVE_NOTE:
            return f"note: {error}"
        case Hint.GIVE_NOTE_ON_TIP:
            return f"{str(error).removesuffix('.')}: `note` of /v1/admin/tips/{error.facts['tip_id']}/release."
        case _:
            return str(error)


def _message(error: KeysatError, status: int) -> str:
    if isinstance(error, SalesUnavailable):
        return _NO_SALES
    if status == 502:
        return _UPSTREAM_REFUSED if isinstance(error, RemoteRefused) else _UPSTREAM
    return _UNAVAILABLE if status >= 500 else described(error)


def _route(request: Request) -> str:
    """Return the route's pattern, as a path may contain a provider's secret token."""
    return str(getattr(request.scope.get("route"), "path", "none"))


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, KeysatError)
    status = status_of(error)
    if status >= 500 and not isinstance(error, TooBusy):  # clients can cause any number of these
        log.warning("request failed", route=_route(request), reason=str(error), **hint_fields(error))
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, RateLimited | SalesUnavailable | TooBusy):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, DatabaseUnavailable | DatabaseBusy):
        headers["Retry-After"] = "5"
    return problem(status, _message(error, status), headers)


def misread_validation() -> JSONResponse:
    """Return the response to a malformed validation request. Programs expect 200 and a reason for any input."""
    return JSONResponse({"ok": False, "reason": "bad_format"})


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if request.scope["path"] == VALIDATE:
        return misread_validation()
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in {"body", "path", "query", "header"})
    why = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    named = f"{where!a}"[1:-1] if where else "the request"
    return problem(400, f"{named}: {why}{more}.")


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if request.scope["path"] == VALIDATE and error.status_code == 400:
        return misread_validation()
    message = f"{str(error.detail).rstrip('.')}."
    return problem(error.status_code, message[:1].lower() + message[1:], dict(error.headers or {}))


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request crashed", route=_route(request), exc_info=error)
    return problem(500, "something went wrong here; it was logged.")
