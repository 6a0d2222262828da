"""The FastAPI application. `keysat web` serves it and sets up logs that contain no secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from keysat import __version__
from keysat.core.settings import load_settings
from keysat.web import (
    admin,
    errors,
    health,
    license_files,
    machines,
    preview,
    products,
    provider_webhooks,
    purchase,
    recover,
    renew,
    rest,
    service,
    status_list,
    validate,
)
from keysat.web.bulkhead import Places
from keysat.web.middleware import BodyLimit, CountRequests, HeadAsGet, PublicCors
from keysat.web.pages import assets, buy, files, me
from keysat.web.pages import purchase as purchase_page
from keysat.web.pages import recover as recover_page
from keysat.web.pages.render import as_page
from keysat.web.proxies import TrustedProxies
from keysat.web.reference import docs_page
from keysat.web.reference.described import complete
from keysat.web.reference.events import event_routes

DESCRIPTION = """Software licenses, sold for Bitcoin through the operator's own payment provider.

Amounts named `..._sats` are whole sats. A product may be priced in another currency, as `price_currency` tells; its
price is then in `price_amount`, in the smallest unit of that currency, the buyer is charged in that currency, and the
fields in sats, which can't express it, are 0. Errors are `{"ok": false, "error": "<code>", "message": "..."}`."""


_ROUTERS = (
    health.router,
    service.router,
    products.router,
    preview.router,
    purchase.router,
    rest.router,
    renew.router,
    recover.router,
    validate.router,
    license_files.router,
    machines.router,
    status_list.router,
    provider_webhooks.router,
    assets.router,
    buy.router,
    purchase_page.router,
    recover_page.router,
    me.router,
    files.router,
    docs_page.router,
)

# Each thread may need a connection from the database pool, which has 25.
_THREADS = 20


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = _THREADS
    yield


def create_app() -> FastAPI:
    """Create the application with all routes, configured from the environment."""
    settings = load_settings()
    app = FastAPI(
        title="Keysat",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        # It would send a path, perhaps with a secret, to the host that the request names.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.provider_places = Places()
    errors.install(app, as_page)
    for router in _ROUTERS:
        app.include_router(router)
    # Without a prefix here FastAPI builds the admin API's routes once more, only to see that no path is empty.
    app.include_router(admin.router, prefix=admin.PREFIX)
    app.webhooks.include_router(event_routes())
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, shown=as_page)
    app.add_middleware(PublicCors)  # outside the limit, so that programs in browsers can read that answer, too
    app.add_middleware(CountRequests)
    proxies = [part.strip() for part in settings.trusted_proxies.split(",") if part.strip()]
    app.add_middleware(TrustedProxies, proxies=proxies, program=f"web{settings.web_port}")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return FastAPI's schema without the 422 it adds to every route: malformed input gets a 400."""
    if app.openapi_schema is None:
        described = FastAPI.openapi(app)
        for path in (*described["paths"].values(), *described["webhooks"].values()):
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(unused, None)
        complete(described)
        app.openapi_schema = described
    return app.openapi_schema
