"""HTTP calls to servers that may be slow, broken or hostile.

`requests` times out between two reads, so a slow drip can block a call forever. Here each call has one total deadline
and a limit on the bytes it reads. It follows no redirects. It returns JSON or raises an error of `keysat.core.errors`
that shows whether a retry makes sense.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, NotRequired, TypedDict
from urllib.parse import quote, urlsplit

import requests

from keysat.core.errors import (
    CredentialsRejected,
    NotTheProvider,
    PermissionMissing,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
    ResponseTooLarge,
)
from keysat.core.hints import Hint
from keysat.core.texts import printable
from keysat.net.certificates import problem_of, tls_context
from keysat.net.deadlines import Adapter, Deadline

_RETRIABLE = {408, 425, 429}


@dataclass(frozen=True)
class HttpResponse:
    """A successful response: the HTTP status (2xx) and the decoded JSON, with decimal numbers as Decimal."""

    status: int
    json: Any


def has_message(problem: Any) -> bool:
    """Whether the JSON of a refusal is an object with a `message` or `error` text."""
    return isinstance(problem, dict) and any(isinstance(problem.get(name), str) for name in ("message", "error"))


class StaysHere(requests.Session):
    """A session that ignores redirects. For each, `requests` would read the body and parse the target address."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        del resp


class Limits(TypedDict):
    """What applies to each call of a client: as in `HttpClient`."""

    deadline: float
    max_bytes: int
    tls: NotRequired[ssl.SSLContext | None]


class HttpClient:
    """JSON over HTTP to one server, with keep-alive connections. Not for untrusted URLs."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        deadline: float,
        max_bytes: int,
        name: str,
        own_error: Callable[[Any], bool] = has_message,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`deadline` in seconds and `max_bytes` apply to each call. Errors call the server `name`.

        `own_error` decides from the JSON whether a refusal is the server's own. `tls`: None trusts the system.
        """
        self._own_error = own_error
        self._base_url, self._name = base_url.rstrip("/"), name
        self._seconds, self._max_bytes = deadline, max_bytes
        self._secrets = [secret for value in headers.values() for secret in (value, value.rpartition(" ")[2])]
        self._session = StaysHere()
        # The environment is read once: per call it costs time, and a netrc file must not replace our credentials.
        self._session.proxies = dict(requests.utils.get_environ_proxies(self._base_url))
        self._session.trust_env = False
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", **headers})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Adapter(pool_maxsize=32, tls=tls or tls_context()))

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> HttpResponse:
        """Read `path`, relative to the base URL. Raises as `request` does."""
        return self.request("GET", path, params=params)

    def request(
        self,
        method: str,
        path: str,
        *,
        json_body: object = None,
        params: Mapping[str, Any] | None = None,
        private: Sequence[str] = (),
    ) -> HttpResponse:
        """Make one call and decode its response. `private` lists texts of the body that no error may repeat.

        Raises:
            RemoteUnavailable: no full response in time, a cut connection, 408, 429 or 5xx. Try later.
            NotTheProvider: a redirect, or a refusal that isn't the server's own.
            CredentialsRejected: 401, or as PermissionMissing 403.
            RemoteNotFound: 404.
            RemoteRefused: any other 4xx.
            RemoteResponseInvalid: too many bytes, or a body that isn't JSON.
        """
        with Deadline(self._seconds) as deadline:
            try:
                response = self._session.request(
                    method,
                    self._base_url + path,
                    json=json_body,
                    params=params,
                    timeout=self._seconds,
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    body = self._read(response)
            except RemoteError:
                raise
            except (requests.RequestException, OSError, ValueError) as error:
                self._fail(deadline, error)
            if deadline.is_over:
                self._fail(deadline, TimeoutError())
        self._check_status(response, body, private)
        return HttpResponse(response.status_code, self._decode(body))

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(65_536):
            body += chunk
            if len(body) > self._max_bytes:
                raise ResponseTooLarge(f"{self._name} sent more than {self._max_bytes:,} bytes; it was cut off.")
        return bytes(body)

    def _fail(self, deadline: Deadline, error: Exception) -> NoReturn:
        if deadline.is_over or isinstance(error, requests.Timeout | TimeoutError):
            raise RemoteUnavailable(f"{self._name} gave no complete response within {self._seconds:g} s.") from error
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
            raise RemoteRefused(f"{self._name} has an address that can't be used; correct it.") from error
        hint = Hint.TRUST_AUTHORITY if problem_of(error) is not None else None
        raise RemoteUnavailable(f"{self._name} at {self._base_url} {why(error)}.", hint=hint) from error

    def _check_status(self, response: requests.Response, body: bytes, private: Sequence[str]) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        if status in _RETRIABLE or status >= 500:
            delay = retry_after(response.headers.get("Retry-After"))
            raise RemoteUnavailable(f"{self._name} answered {status}.", retry_after=delay)
        if 300 <= status < 400:
            raise NotTheProvider(
                f"{self._name} at {self._base_url} answered with a redirect ({status}), which is not followed; check "
                "the address.",
                status,
            )
        if not self._own_error(_json_or_none(body)):
            raise self._not_the_provider(status)
        if status in {401, 403}:
            refusal = PermissionMissing if status == 403 else CredentialsRejected
            raise refusal(f"{self._name} rejected our credentials ({status}).")
        if status == 404:
            raise RemoteNotFound(f"{self._name} knows nothing at {urlsplit(response.url).path} (404).")
        excerpt = printable(body.decode("utf-8", "replace"))
        for secret in filter(None, [*self._secrets, *private]):
            excerpt = re.sub(_however_escaped(secret), "[redacted]", excerpt, flags=re.IGNORECASE)
        raise RemoteRefused(f"{self._name} refused the request ({status}): {excerpt[:200]}", _refusal_code(body))

    def _not_the_provider(self, status: int) -> NotTheProvider:
        return NotTheProvider(
            f"what answered {status} at {self._base_url} isn't {self._name} itself; check the address, and any proxy "
            "or firewall before it.",
            status,
        )

    def _decode(self, body: bytes) -> Any:
        try:
            return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
        except (ValueError, RecursionError, ArithmeticError) as error:  # the last from Decimal, for absurd exponents
            raise RemoteResponseInvalid(f"{self._name} sent something that isn't JSON.") from error


def why(error: Exception) -> str:
    """Return why a call got no response, as a predicate of the server, with the remedy if there is one."""
    if (certificate := problem_of(error)) is not None:
        return f"shows a certificate that isn't trusted ({certificate}); correct it there, or trust its authority"
    causes, inner = [type(error).__name__], error.args[0] if error.args else None
    causes.append(type(getattr(inner, "reason", None)).__name__)
    if "gaierror" in causes or "NameResolutionError" in causes or isinstance(error, socket.gaierror):
        return "has a name that doesn't resolve; check the address"
    if "NewConnectionError" in causes:
        return "refuses connections or can't be reached; check the address and that it runs"
    return f"cut the connection ({causes[0]})"


def _however_escaped(secret: str) -> str:
    """Return a pattern that matches a text as it is, and as it is escaped in JSON and in URLs."""
    return "".join(rf"(?:\\?{re.escape(char)}|\\u{ord(char):04x}|{re.escape(quote(char, safe=''))})" for char in secret)


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _refusal_code(body: bytes) -> str | None:
    problem = _json_or_none(body)
    code = problem.get("code") if isinstance(problem, dict) else None
    return code if isinstance(code, str) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def retry_after(value: str | None) -> float | None:
    """Convert a Retry-After header, in seconds or as an HTTP date (RFC 9110, 10.2.3), to seconds from now."""
    if not value:
        return None
    try:
        return max(0.0, float(value)) if value.strip().isdigit() else _until(value)
    except (ValueError, OverflowError):
        return None


def _until(value: str) -> float:
    return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
