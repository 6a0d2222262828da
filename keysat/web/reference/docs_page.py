"""The page that shows the API's description. All it loads is served here, from the installed package of Swagger UI."""

from __future__ import annotations

import hashlib
from functools import cache
from html import escape
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from keysat.core.errors import NotFound
from keysat.web.pages.assets import asset
from keysat.web.pages.render import root

router = APIRouter(include_in_schema=False)

_FROM_PACKAGE = {"swagger-ui-bundle.js", "swagger-ui.css"}
_FILES = {*_FROM_PACKAGE, "docs.css", "docs.js"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>The API of Keysat</title>
<link rel="icon" type="image/svg+xml" href="{icon}">
<link rel="stylesheet" href="{style}">
<link rel="stylesheet" href="{own_style}">
</head>
<body>
<main id="docs" data-description="{description}"><noscript>The description is at {description}.</noscript></main>
<script src="{bundle}"></script>
<script src="{script}"></script>
</body>
</html>
"""
# Swagger UI draws with inline SVG images, and sets styles by script alone.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FILE_HEADERS = {
    "Cache-Control": "public, max-age=86400",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@router.get("/docs")
def docs() -> HTMLResponse:
    """Show the API's description."""
    html = _PAGE.format(
        icon=_link(asset("icon.svg")),
        style=_link(_path("swagger-ui.css")),
        own_style=_link(_path("docs.css")),
        bundle=_link(_path("swagger-ui-bundle.js")),
        script=_link(_path("docs.js")),
        description=_link("/openapi.json"),
    )
    return HTMLResponse(html, headers=_HEADERS)


@router.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """Serve a file of the page."""
    if name not in _FILES:
        raise NotFound("file", ascii(name[:40]))
    media_type = "text/css" if name.endswith(".css") else "text/javascript"
    return Response(_content(name), media_type=f"{media_type}; charset=utf-8", headers=_FILE_HEADERS)


def _link(path: str) -> str:
    return escape(root() + path)


def _path(name: str) -> str:
    return f"/docs/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _content(name: str) -> bytes:
    package = "fastapi_offline" if name in _FROM_PACKAGE else "keysat.web.reference"
    return files(package).joinpath("static", name).read_bytes()
