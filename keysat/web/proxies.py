"""Client addresses behind a proxy: X-Forwarded-For is trusted from the listed proxies only."""

from __future__ import annotations

import time
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from keysat.core import notices
from keysat.core.logs import get_logger

log = get_logger(__name__)

_AGAIN_SECONDS = 3_600.0


class TrustedProxies:
    """Takes the address from X-Forwarded-For if a listed proxy sent it, and warns if another peer did."""

    def __init__(self, app: ASGIApp, proxies: list[str], program: str) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=proxies)  # type: ignore[arg-type]
        self._program = program
        self._warned = False
        self._notice_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and time.monotonic() >= self._notice_at:
            peer = scope["client"][0] if scope["client"] else ""
            named = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
            if named and peer not in self._app.trusted_hosts:
                self._warn(peer)
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _warn(self, peer: str) -> None:
        sentence = (
            f"X-Forwarded-For comes from {peer}, which KEYSAT_TRUSTED_PROXIES doesn't name, and is ignored: "
            "if that is your proxy, name it there; until then all who come through it share one rate limit."
        )
        if not self._warned:
            log.warning("untrusted proxy", reason=sentence, peer=peer)
            self._warned = True
        # Clients on the internet can send any header, so they raise no alarm.
        if _private(peer):
            self._notice_at = time.monotonic() + _AGAIN_SECONDS
            notices.notice(notices.PROXY, self._program, sentence)


def _private(peer: str) -> bool:
    try:
        return not ip_address(peer).is_global
    except ValueError:
        return True
