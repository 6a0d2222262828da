"""BTCPay's Greenfield routes for stores, invoices and webhooks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any
from urllib.parse import unquote

from keysat.core.errors import Conflict, InvalidInput
from keysat.sandbox.drafts import Rejected, parse_draft, parse_listing
from keysat.sandbox.fields import parse_json
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.lightning import Lightning
from keysat.sandbox.records import CHAIN, LIGHTNING, Invoice, Status, Webhook
from keysat.sandbox.views import invoice_data, payment_method_data, store_data
from keysat.sandbox.webhook_data import parse_webhook, webhook_data
from keysat.sandbox.wire import Request, SandboxResponse

_STORE = r"/api/v1/stores/(?P<store>[^/]+)"
_INVOICE = rf"(?:{_STORE}|/api/v1)/invoices/(?P<invoice>[^/]+)"
_ROUTES = {
    "store": re.compile(rf"{_STORE}/?"),
    "invoices": re.compile(rf"{_STORE}/invoices/?"),
    "invoice": re.compile(rf"{_INVOICE}/?"),
    "status": re.compile(rf"{_INVOICE}/status/?"),
    "payments": re.compile(rf"{_INVOICE}/payment-methods/?"),
    "payment": re.compile(rf"{_STORE}/lightning/BTC/payments/(?P<payment>[^/]+)/?"),
    "pay": re.compile(rf"{_STORE}/lightning/BTC/invoices/pay/?"),
    "webhooks": re.compile(rf"{_STORE}/webhooks/?"),
    "webhook": re.compile(r"/api/v1/webhooks/(?P<webhook>[^/]+)/?"),
}
_MODIFY_WEBHOOKS = "btcpay.store.webhooks.canmodifywebhooks"
_PERMISSIONS = {
    "GET store": "btcpay.store.canviewstoresettings",
    "GET invoices": "btcpay.store.canviewinvoices",
    "GET invoice": "btcpay.store.canviewinvoices",
    "GET payments": "btcpay.store.canviewinvoices",
    "POST invoices": "btcpay.store.cancreateinvoice",
    "DELETE invoice": "btcpay.store.canmodifyinvoices",
    "GET payment": "btcpay.store.canuselightningnode",
    "POST pay": "btcpay.store.canuselightningnode",
    "POST status": "btcpay.store.canmodifyinvoices",
    "GET webhooks": _MODIFY_WEBHOOKS,
    "POST webhooks": _MODIFY_WEBHOOKS,
    "GET webhook": _MODIFY_WEBHOOKS,
    "PUT webhook": _MODIFY_WEBHOOKS,
    "DELETE webhook": _MODIFY_WEBHOOKS,
}


@dataclass(frozen=True)
class Route:
    """The target of a request: a name such as `GET invoice`, its store (if known), and the ids in its path."""

    name: str
    store_id: str | None = None
    invoice_id: str | None = None
    webhook_id: str | None = None
    payment_hash: str | None = None


def _problem(status: int, code: str, message: str, **more: str) -> SandboxResponse:
    return SandboxResponse(status, {"code": code, "message": message, **more})


def _invoice_missing() -> SandboxResponse:
    return _problem(404, "invoice-not-found", "The invoice was not found")


def _webhook_missing() -> SandboxResponse:
    return _problem(404, "webhook-not-found", "The webhook was not found")


class Provider:
    """Responds as a BTCPay Server does."""

    def __init__(self, ledger: Ledger, base_url: Callable[[], str], lightning: Lightning) -> None:
        """`base_url` returns the address that checkout links start with. `lightning` makes the payments."""
        self._ledger, self._base_url = ledger, base_url
        self._actions = {
            "GET store": self._store,
            "GET invoices": self._list,
            "GET invoice": self._read,
            "GET payments": self._payments,
            "POST invoices": self._create,
            "DELETE invoice": self._archive,
            "POST status": self._mark,
            "GET payment": lambda _request, route: lightning.find(route.payment_hash or ""),
            "POST pay": lambda request, _route: lightning.pay(request),
            "GET webhooks": self._list_webhooks,
            "POST webhooks": self._create_webhook,
            "GET webhook": self._read_webhook,
            "PUT webhook": self._update_webhook,
            "DELETE webhook": self._delete_webhook,
        }

    def route(self, request: Request) -> Route:
        """Return the route of a request, whether or not the request is allowed."""
        for noun, pattern in _ROUTES.items():
            match = pattern.fullmatch(request.path)
            if match:
                parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
                invoice_id, webhook_id = parts.get("invoice"), parts.get("webhook")
                store_id = parts.get("store") or self._owner(invoice_id, webhook_id)
                return Route(f"{request.method} {noun}", store_id, invoice_id, webhook_id, parts.get("payment"))
        return Route(f"{request.method} unknown")

    def _owner(self, invoice_id: str | None, webhook_id: str | None) -> str | None:
        if webhook_id is not None:
            store = self._ledger.store_of_webhook(webhook_id)
            return store.id if store else None
        invoice = self._ledger.find(invoice_id or "")
        return invoice.store_id if invoice else None

    def answer(self, request: Request, route: Route) -> SandboxResponse:
        """Execute a request and return its response."""
        action = self._actions.get(route.name)
        if action is None:
            known = not route.name.endswith(" unknown")
            return _problem(405 if known else 404, "not-found", f"There is no {request.method} at {request.path}")
        refusal = self._refusal(request, route)
        if refusal is not None:
            return refusal
        try:
            return action(request, route)
        except Rejected as rejected:
            return SandboxResponse(rejected.status, rejected.errors)

    def _refusal(self, request: Request, route: Route) -> SandboxResponse | None:
        scheme, _, key = request.authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "token" or not key or not self._ledger.knows_key(key):
            return _problem(401, "unauthenticated", "Authentication is required for accessing this endpoint")
        if route.store_id is None:
            return _webhook_missing() if route.webhook_id else _invoice_missing()
        store = self._ledger.store(route.store_id)
        if store is not None and store.api_key == key:
            return None
        permission = _PERMISSIONS[route.name]
        message = f'Insufficient API Permissions. Please use an API key with permission "{permission}".'
        return _problem(403, "missing-permission", message, missingPermission=permission)

    def _store(self, _request: Request, route: Route) -> SandboxResponse:
        store = self._ledger.store(route.store_id or "")
        return (
            SandboxResponse(200, store_data(store))
            if store
            else _problem(404, "store-not-found", "The store was not found")
        )

    def _create(self, request: Request, route: Route) -> SandboxResponse:
        draft = parse_draft(_body(request))
        return self._show(self._ledger.create(route.store_id or "", draft))

    def _list(self, request: Request, route: Route) -> SandboxResponse:
        wanted = parse_listing(request.query)
        newest_first = self._ledger.of_store(route.store_id or "", wanted.end + 1)
        young = takewhile(lambda invoice: invoice.created_at >= wanted.start, newest_first)
        end = None if wanted.take is None else wanted.skip + wanted.take
        found = islice(filter(wanted.fits, young), wanted.skip, end)
        return SandboxResponse(200, [invoice_data(invoice, self._base_url()) for invoice in found])

    def _read(self, _request: Request, route: Route) -> SandboxResponse:
        invoice = self._find(route)
        return self._show(invoice) if invoice else _invoice_missing()

    def _archive(self, _request: Request, route: Route) -> SandboxResponse:
        invoice = self._find(route)
        return self._show(self._ledger.archive(invoice.id)) if invoice else _invoice_missing()

    def _payments(self, _request: Request, route: Route) -> SandboxResponse:
        invoice = self._find(route)
        return _methods_of(invoice) if invoice else _invoice_missing()

    def _mark(self, request: Request, route: Route) -> SandboxResponse:
        invoice = self._find(route)
        if invoice is None:
            return _invoice_missing()
        body = _body(request)
        try:
            status = Status(str(body.get("status") if isinstance(body, dict) else None))
            return self._show(self._ledger.mark(invoice.id, status))
        except (ValueError, Conflict) as error:
            message = "Status can only be marked to invalid or settled within certain conditions."
            raise Rejected([("status", message)]) from error

    def _list_webhooks(self, _request: Request, route: Route) -> SandboxResponse:
        store = self._ledger.store(route.store_id or "")
        return SandboxResponse(200, [webhook_data(webhook) for webhook in store.webhooks] if store else [])

    def _create_webhook(self, request: Request, route: Route) -> SandboxResponse:
        webhook = parse_webhook(_body(request))
        self._ledger.put_webhook(route.store_id or "", webhook)
        return SandboxResponse(200, {**webhook_data(webhook), "secret": webhook.secret})

    def _read_webhook(self, _request: Request, route: Route) -> SandboxResponse:
        webhook = self._find_webhook(route)
        return SandboxResponse(200, webhook_data(webhook)) if webhook else _webhook_missing()

    def _update_webhook(self, request: Request, route: Route) -> SandboxResponse:
        before = self._find_webhook(route)
        if before is None:
            return _webhook_missing()
        webhook = parse_webhook(_body(request), before)
        self._ledger.put_webhook(route.store_id or "", webhook)
        return SandboxResponse(200, webhook_data(webhook))

    def _delete_webhook(self, _request: Request, route: Route) -> SandboxResponse:
        self._ledger.remove_webhook(route.store_id or "", route.webhook_id or "")
        return SandboxResponse(200, b"")

    def _find_webhook(self, route: Route) -> Webhook | None:
        store = self._ledger.store(route.store_id or "")
        return store.webhook(route.webhook_id or "") if store else None

    def _find(self, route: Route) -> Invoice | None:
        invoice = self._ledger.find(route.invoice_id or "")
        return invoice if invoice and invoice.store_id == route.store_id else None

    def _show(self, invoice: Invoice) -> SandboxResponse:
        return SandboxResponse(200, invoice_data(invoice, self._base_url()))


def _methods_of(invoice: Invoice) -> SandboxResponse:
    return SandboxResponse(200, [payment_method_data(invoice, method) for method in (CHAIN, LIGHTNING)])


def _body(request: Request) -> Any:
    try:
        return parse_json(request.body)
    except InvalidInput as error:
        raise Rejected([("", "The request body is not valid JSON")], status=400) from error
