"""The style sheet, the script, the icon and the seller's logo. Their addresses change with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

from keysat.core.errors import NotFound
from keysat.core.settings import load_settings
from keysat.web.pages.colors import accent_css
from keysat.web.pages.seller import IMAGES, read_seller

router = APIRouter(include_in_schema=False)

LOGO = "logo"
_TYPES = {
    "pages.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": IMAGES[".svg"],
}
_HEADERS = {
    "Cache-Control": "public, max-age=86400",
    "X-Content-Type-Options": "nosniff",
    # An image may be opened by itself, and an SVG may have a script.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


def asset(name: str) -> str:
    """Return the path of an asset, with a digest of its content."""
    return f"/assets/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@router.get("/assets/{name}")
def read_asset(name: str) -> Response:
    """Serve an asset of the pages."""
    logo = read_seller().logo if name == LOGO else None
    if logo is not None:
        return Response(_content(name), media_type=IMAGES[logo.suffix.lower()], headers=_HEADERS)
    if name not in _TYPES:
        raise NotFound("asset", ascii(name[:40]))
    return Response(_content(name), media_type=_TYPES[name], headers=_HEADERS)


@cache
def _content(name: str) -> bytes:
    if name == LOGO:
        logo = read_seller().logo
        return b"" if logo is None else logo.read_bytes()
    content = files("keysat.web.pages").joinpath(f"static/{name}").read_bytes()
    if name != "pages.css":
        return content
    return accent_css(load_settings().seller_color).encode() + content
