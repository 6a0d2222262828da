"""The first page: who sells here, and what."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from keysat.core.db import reading
from keysat.web.pages.offers import windows
from keysat.web.pages.render import page
from keysat.web.state import signer


def home(request: Request) -> HTMLResponse:
    """Show who sells here, and what."""
    with reading() as session:
        products = windows(session)
    return page(request, "home.html", products=products, fingerprint=grouped(signer().key_id))


def grouped(text: str) -> str:
    """Return a fingerprint in groups of four, which people can compare."""
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
