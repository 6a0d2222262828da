"""HTTP calls to untrusted URLs: receivers of webhooks, Lightning Addresses.

Each connection goes to the address that was checked, so a name that resolves differently a moment later has no effect.
Calls use no redirects, proxies, cookies or credentials from the environment. Each call has one deadline.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urlsplit

import requests

from keysat.core.errors import CallFailed, InvalidInput, KeysatError, RemoteUnavailable
from keysat.net.addresses import Networks, refusal
from keysat.net.certificates import tls_context
from keysat.net.client import StaysHere, why
from keysat.net.deadlines import Adapter, Deadline, Refused

_MAX_URL = 2_000
_GUARD_SECONDS = 10.0


class AddressRefused(CallFailed):
    """A URL leads to a forbidden address. Nothing was sent."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"nothing is sent to {host}: {reason}.")


class GuardMissing(KeysatError):
    """The address guard doesn't work, so webhooks and tips could reach private networks."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"a call to the private address {url} was not refused, so the address guard isn't in place and nothing is "
            "sent; install Keysat again with its locked dependencies, and remove what changes its modules."
        )


@dataclass(frozen=True)
class UntrustedResponse:
    """A response with any status. `truncated` is true if it exceeded the byte limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


class UntrustedClient:
    """Calls untrusted URLs. May be shared by threads."""

    def __init__(
        self,
        allowed: Networks,
        *,
        deadline: float,
        max_bytes: int,
        allow_http: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        """`deadline` in seconds and `max_bytes` of the response body apply to each call.

        `allowed` networks may be reached although they aren't public, and over http, too.
        """
        self._allowed, self._seconds, self._max_bytes = allowed, deadline, max_bytes
        # Calls without TLS go only to the operator's own networks, unless http is allowed everywhere.
        self._plain = allow_http
        self._session = StaysHere()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Adapter(pool_maxsize=32, tls=tls_context(ca_file), refuse=self._refuse))

    def request(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> UntrustedResponse:
        """Make one call.

        Raises:
            InvalidInput: the URL can't be used.
            AddressRefused: it leads to an address that isn't public. Nothing was sent.
            RemoteUnavailable: no full response in time, or a cut connection.
        """
        host = check_url(url, allow_http=self._plain or bool(self._allowed.networks))
        own = {"Accept-Encoding": "identity", "User-Agent": "keysat", "Connection": "close", **(headers or {})}
        with Deadline(self._seconds) as deadline:
            try:
                response = self._session.request(
                    method, url, data=body, headers=own, timeout=self._seconds, allow_redirects=False, stream=True
                )
                with response:
                    content, truncated = self._read(response)
            except (requests.RequestException, OSError, ValueError) as error:
                if (refused := _refused(error)) is not None:
                    raise AddressRefused(host, str(refused)) from None
                if deadline.is_over or isinstance(error, requests.Timeout | TimeoutError):
                    raise RemoteUnavailable(f"{host} gave no complete response within {self._seconds:g} s.") from error
                raise RemoteUnavailable(f"{host} {why(error)}.") from error
            if deadline.is_over and not truncated:
                raise RemoteUnavailable(f"{host} gave no complete response within {self._seconds:g} s.")
        return UntrustedResponse(response.status_code, response.headers, content, truncated)

    def _read(self, response: requests.Response) -> tuple[bytes, bool]:
        body = bytearray()
        for chunk in response.iter_content(4_096):
            body += chunk
            if len(body) > self._max_bytes:
                return bytes(body[: self._max_bytes]), True
        return bytes(body), False

    def _refuse(self, address: str, *, secure: bool) -> str | None:
        reason = refusal(address, self._allowed)
        if reason is None and not secure and not self._may_be_plain(address):
            return "http is for the operator's own networks only"
        return reason

    def _may_be_plain(self, address: str) -> bool:
        return self._plain or refusal(address, Networks()) is not None


def check_guard() -> None:
    """Check that a client refuses a private address, and doesn't connect to it. The address is a socket of our own.

    Raises:
        GuardMissing: the client tried to connect, or reported anything but a refusal.
    """
    client = UntrustedClient(Networks(), deadline=_GUARD_SECONDS, max_bytes=1, allow_http=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003 - the standard library takes it by position
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
            if not _is_refused(client, url) or _was_connected(listener):
                raise GuardMissing(url)


def _is_refused(client: UntrustedClient, url: str) -> bool:
    try:
        client.request("GET", url)
    except AddressRefused:
        return True
    except CallFailed:
        return False
    return False


def _was_connected(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def check_url(url: str, *, allow_http: bool) -> str:
    """Check whether a URL may be called, without resolving its host. Returns the host.

    Raises:
        InvalidInput: it isn't an https URL (or http, if allowed), or contains a user name.
    """
    schemes = {"https", "http"} if allow_http else {"https"}
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 and parts.scheme in schemes and "@" not in parts.netloc else None
    except ValueError:
        host = None
    plain = url.isprintable() and not any(character.isspace() or character == "\\" for character in url)
    if not host or not plain or len(url) > _MAX_URL:
        wanted = "https:// or http://" if allow_http else "https://"
        raise InvalidInput(f"the URL {url[:100]!r} must start with {wanted} and a host, without user or password.")
    return host


def _refused(error: BaseException) -> Refused | None:
    """Return the refusal that requests and urllib3 wrapped, if there is one."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, Refused):
            return cause
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            waiting += [*cause.args, cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
    return None
