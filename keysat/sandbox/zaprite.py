"""Zaprite's routes for orders, on the same ledger. An API key gives access to the one store that has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from keysat.core.errors import InvalidInput
from keysat.core.money import DECIMALS, MAX_AMOUNT
from keysat.sandbox.fields import Fields, parse_json
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.provider import Route
from keysat.sandbox.records import Draft, Invoice, Kind
from keysat.sandbox.wire import Request, SandboxResponse
from keysat.sandbox.zaprite_views import order_data

# The names are those of BTCPay's counterparts, so that all requests are counted alike.
_ROUTES = {"invoices": re.compile(r"/v1/orders/?"), "invoice": re.compile(r"/v1/orders/(?P<order>[^/]+)/?")}
_EXPIRES_IN = 86_400
_MAX_PAGE = 100
_ECHOED = ("label", "metadata", "redirectUrl", "customerData")


class Zaprite:
    """Responds as Zaprite does, as far as its behavior is known."""

    def __init__(self, ledger: Ledger, base_url: Callable[[], str]) -> None:
        """`base_url` returns the address that checkout links start with."""
        self._ledger, self._base_url = ledger, base_url
        self._actions = {"POST invoices": self._create, "GET invoices": self._list, "GET invoice": self._read}

    def route(self, request: Request) -> Route:
        """Return the route of a request, whether or not the request is allowed."""
        scheme, _, key = request.authorization.partition(" ")
        store = self._ledger.store_of_key(key, Kind.ZAPRITE) if scheme == "Bearer" else None
        store_id = store.id if store else None
        for noun, pattern in _ROUTES.items():
            match = pattern.fullmatch(request.path)
            if match:
                wanted = match.groupdict().get("order")
                return Route(f"{request.method} {noun}", store_id, unquote(wanted) if wanted else None)
        return Route(f"{request.method} unknown", store_id)

    def answer(self, request: Request, route: Route) -> SandboxResponse:
        """Execute a request and return its response."""
        action = self._actions.get(route.name)
        if action is None:
            return _problem(404, "NOT_FOUND", f"There is no {request.method} at {request.path}")
        if route.store_id is None:
            return _problem(401, "UNAUTHORIZED", "The API key is missing or wrong")
        try:
            return action(request, route.store_id, route.invoice_id or "")
        except InvalidInput as error:
            return _problem(400, "BAD_REQUEST", str(error))

    def _create(self, request: Request, store_id: str, _wanted: str) -> SandboxResponse:
        return self._show(self._ledger.create(store_id, _draft(parse_json(request.body))))

    def _list(self, request: Request, store_id: str, _wanted: str) -> SandboxResponse:
        limit, page = min(_whole(request, "limit", _MAX_PAGE), _MAX_PAGE), _whole(request, "page", 1)
        orders = list(self._ledger.of_store(store_id))
        first = (page - 1) * limit
        items = [order_data(invoice, self._base_url()) for invoice in orders[first : first + limit]]
        meta = {"pagesCount": max(1, -(-len(orders) // limit)), "currentPage": page}
        return SandboxResponse(200, {"items": items, "meta": meta})

    def _read(self, _request: Request, store_id: str, wanted: str) -> SandboxResponse:
        fitting = (
            candidate for candidate in self._ledger.of_store(store_id) if wanted in {candidate.id, candidate.order_id}
        )
        invoice = next(fitting, None)
        return self._show(invoice) if invoice else _problem(404, "NOT_FOUND", "The order was not found")

    def _show(self, invoice: Invoice) -> SandboxResponse:
        return SandboxResponse(200, order_data(invoice, self._base_url()))


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, (str(default),))[0]
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InvalidInput(f"'{name}' has to be a whole number of 1 or more.")
    return int(text)


def _draft(body: Any) -> Draft:
    """Read an order request. A field that Zaprite isn't known to accept is rejected."""
    fields = Fields(body, "the order", ("amount", "currency", "externalUniqId", *_ECHOED))
    currency = fields.text("currency")
    if currency not in DECIMALS:
        raise InvalidInput(f"'currency' of the order has to be one of {', '.join(DECIMALS)}.")
    return Draft(
        amount=fields.whole("amount", minimum=1, maximum=MAX_AMOUNT),
        currency=currency,
        expires_in=_EXPIRES_IN,
        monitored_for=0,
        metadata={"orderId": fields.text_or_none("externalUniqId")},
        checkout={name: fields.any(name) for name in _ECHOED if fields.has(name)},
        receipt={},
        search_terms=(),
    )


def _problem(status: int, code: str, message: str) -> SandboxResponse:
    return SandboxResponse(status, {"code": code, "message": message})
