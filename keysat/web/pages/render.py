"""Render a page with the headers that every page has, and turn errors into pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from functools import cache, partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from keysat.core.errors import KeysatError, RateLimited, SalesUnavailable, TooBusy
from keysat.core.hints import hint_fields
from keysat.core.logs import get_logger
from keysat.core.settings import load_settings
from keysat.web.errors import status_of
from keysat.web.pages.assets import asset
from keysat.web.pages.language import LANGUAGES, catalog, chosen_language, texts_for
from keysat.web.pages.offers import NotSold
from keysat.web.pages.seller import read_seller

log = get_logger(__name__)

_ORIGIN = re.compile(r"https?://[\w.\-\[\]:]+", re.ASCII)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Language",
}
_KEPT_HEADERS = ("Allow", "Connection", "Retry-After")
_MAY_PASS = {408, 429, 500, 503}
_TEXT_OF_STATUS = {404: "not_found", 429: "limited", 500: "failed", 503: "unavailable"}


def wants_page(request: Request) -> bool:
    """Whether the client is a browser. Programs accept anything, but don't name HTML."""
    return "text/html" in request.headers.get("accept", "").lower()


def origin_of(url: str | None) -> str | None:
    """Return the origin of an http or https URL, or None if it has none that a header can name."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else None


def security_headers(form_targets: Iterable[str] = ()) -> dict[str, str]:
    """Return the headers of a page. Its forms may lead to itself and to the origins in `form_targets`."""
    actions = " ".join(["'self'", *form_targets])
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action {actions}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {**_HEADERS, "Content-Security-Policy": policy}


def root() -> str:
    """Return the path that all links start with: that of the public URL, mostly empty."""
    return urlsplit(load_settings().url).path


# A browser that goes back to a page shows it as it was, and doesn't load it anew. For pages without secrets.
KEPT = {"Cache-Control": "private, max-age=0"}


def page(
    request: Request,
    template: str,
    status: int = 200,
    form_targets: Iterable[str] = (),
    headers: dict[str, str] | None = None,
    **facts: Any,
) -> HTMLResponse:
    """Render a template in the buyer's language."""
    texts, chosen = texts_for(request), chosen_language(request)
    html = (
        _environment()
        .get_template(template)
        .render(
            t=texts,
            seller=read_seller(),
            root=root(),
            asset=asset,
            mail=load_settings().mail_is_on,
            lang=f"?lang={chosen}" if chosen else "",
            here=partial(_here, request),
            languages={language: catalog(language)["page.language"] for language in LANGUAGES},
            **facts,
        )
    )
    return HTMLResponse(html, status, {**security_headers(form_targets), **(headers or {})})


def _here(request: Request, language: str) -> str:
    """Return a relative link to the same page in another language."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return "?" + urlencode([*kept, ("lang", language)])


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("keysat.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class PageRoute(APIRoute):
    """A route whose errors, also those of its dependencies, are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, which raises nothing."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except KeysatError as error:
                return _refused(request, error, self.path)
            except RequestValidationError:
                return _error_page(request, 404)
            except Exception:
                log.exception("page crashed", route=self.path)
                return _error_page(request, 500)

        return guarded


def _refused(request: Request, error: KeysatError, route: str) -> HTMLResponse:
    if isinstance(error, NotSold):
        status = 410 if error.archived else 404
        return page(request, "gone.html", status, product=error.name, archived=error.archived)
    status = status_of(error)
    if status >= 500 and not isinstance(error, TooBusy):
        log.warning("page failed", route=route, reason=str(error), **hint_fields(error))
    seconds = error.retry_after if isinstance(error, RateLimited | SalesUnavailable | TooBusy) else 5
    headers = {"Retry-After": str(seconds)} if status in {429, 503} else {}
    return _error_page(request, 503 if status == 502 else status, headers)


def _error_page(request: Request, status: int, headers: dict[str, str] | None = None) -> HTMLResponse:
    text = _TEXT_OF_STATUS.get(status, "bad")
    return page(request, "error.html", status, headers=headers, text=text, again=status in _MAY_PASS)


def as_page(request: Request, response: Response) -> Response:
    """Return the response to a failed request, or a page of the same status for a browser outside the API."""
    if request.scope["path"].startswith("/v1/") or not wants_page(request):
        return response
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return _error_page(request, response.status_code, kept)
