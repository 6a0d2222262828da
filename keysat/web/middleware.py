"""Middleware for all requests: metrics, the body limit, HEAD and CORS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keysat.core import metrics
from keysat.core.background import left_to_background
from keysat.web.errors import VALIDATE, misread_validation, problem

MAX_BYTES = 65_536
BODY_SECONDS = 10.0
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class CountRequests:
    """Counts requests by route, method and status. Uses the route's pattern, as a path may contain a secret."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        def count(status: int) -> None:
            route = getattr(scope.get("route"), "path", "none")
            metrics.http_requests.labels(route, method, status).inc()

        # Any word can be a method, and each one would stay in the metrics forever.
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            with left_to_background():
                await self._app(scope, receive, counting)
        except Exception:
            count(500)  # the response is made further out, where the route is unknown
            raise


class BodyLimit:
    """Reads the whole body before the route runs: at most 64 KB, within 10 s.

    `shown` makes of an error's response what its client gets.
    """

    def __init__(self, app: ASGIApp, shown: Callable[[Request, Response], Response]) -> None:
        self._app = app
        self._shown = shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(scope, receive)
        except TimeoutError:
            refusal = problem(408, "the body didn't come in time.", {"Connection": "close"})
            await self._shown(Request(scope), refusal)(scope, receive, send)
            return
        if body is None:
            if scope["path"] == VALIDATE:
                await misread_validation()(scope, receive, send)
                return
            refusal = problem(413, f"a body may have {MAX_BYTES} bytes at most.", {"Connection": "close"})
            await self._shown(Request(scope), refusal)(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


class HeadAsGet:
    """Handles HEAD like GET, without the body, on every route that has GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, headers_only)


class PublicCors:
    """Lets pages of any origin call the public routes, but not the admin API or the provider webhooks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=["ETag", "Retry-After"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        public = scope["type"] == "http" and (scope["path"] == "/" or _is_public(scope["path"]))
        await (self._open if public else self._app)(scope, receive, send)


def _is_public(path: str) -> bool:
    return path.startswith("/v1/") and not path.startswith("/v1/admin/") and "/webhook/" not in path
