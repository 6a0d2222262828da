"""The checkout as a page, for a person with a browser: pay, pay in part, pay late, or let the invoice expire.

Each provider's links lead here: `/i/` of BTCPay, `/order/` of Zaprite, `/charge/` of OpenNode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from urllib.parse import parse_qs, unquote, urlsplit

from jinja2 import Environment, PackageLoader, Template

from keysat.core.errors import KeysatError
from keysat.core.money import Money
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.records import Invoice, Kind, Status
from keysat.sandbox.views import decimal_string
from keysat.sandbox.wire import Request, SandboxResponse

_CHECKOUT = re.compile(r"/(?:i|order|charge)/([^/]+)/?")
_RETURN_URLS = ("redirectURL", "redirectUrl", "success_url")
_TITLES = ("label", "description")
_PROVIDERS = {Kind.BTCPAY: "BTCPay Server", Kind.ZAPRITE: "Zaprite", Kind.OPENNODE: "OpenNode"}
_HTML = "text/html; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    b'<rect x="3" y="8" width="26" height="17" rx="3" fill="#1f6f54"/></svg>'
)
_LIGHTNING = ("lightning", "Pay over Lightning")
_NEW = (
    ("pay", "Pay"),
    _LIGHTNING,
    ("unconfirmed", "Pay, and confirm later"),
    ("part", "Pay half of it"),
    ("late", "Let it expire, then pay"),
    ("expire", "Let it expire"),
)


class Checkout:
    """Shows the invoices of all stores, and acts as their buyers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._actions: dict[str, Callable[[Invoice], Invoice]] = {
            "pay": lambda invoice: ledger.pay(invoice.id),
            "lightning": lambda invoice: ledger.pay_lightning(invoice.id),
            "unconfirmed": lambda invoice: ledger.pay(invoice.id, is_confirmed=False),
            "part": lambda invoice: ledger.pay(invoice.id, _half(invoice)),
            "late": lambda invoice: ledger.pay(invoice.id, late=True),
            "expire": lambda invoice: ledger.expire(invoice.id),
            "confirm": lambda invoice: ledger.confirm(invoice.id),
        }

    def serves(self, path: str) -> bool:
        """Whether a path is one of the checkout."""
        return path in {"/sandbox/checkout.css", "/sandbox/icon.svg"} or _CHECKOUT.fullmatch(path) is not None

    def respond(self, request: Request) -> SandboxResponse:
        """Show an invoice, after acting on it."""
        match = _CHECKOUT.fullmatch(request.path)
        if match is None:
            return _static(request.path)
        invoice = self._ledger.find(unquote(match[1]))
        if invoice is None:
            return SandboxResponse(404, _template("missing.html").render().encode(), _HEADERS, _HTML)
        if request.method != "POST":
            return self._page(invoice)
        action = self._actions.get(parse_qs(request.body.decode("utf-8", "replace")).get("do", [""])[0])
        try:
            if action is not None:
                action(invoice)
        except KeysatError as error:
            return self._page(self._ledger.find(invoice.id) or invoice, str(error))
        return SandboxResponse(303, b"", {**_HEADERS, "Location": request.path}, _HTML)

    def _page(self, invoice: Invoice, problem: str | None = None) -> SandboxResponse:
        store = self._ledger.store(invoice.store_id)
        has_lightning = store is not None and store.kind is Kind.BTCPAY  # the only one with payment hashes
        titles = (invoice.draft.metadata.get("itemDesc"), *map(invoice.draft.checkout.get, _TITLES))
        html = _template("checkout.html").render(
            id=invoice.id,
            provider=_PROVIDERS[store.kind] if store else "provider",
            amount=Money(invoice.amount, invoice.draft.currency),
            title=next(filter(None, titles), None),
            state=_state(invoice),
            actions=[action for action in _offered(invoice) if action != _LIGHTNING or has_lightning],
            preimages=[payment.preimage for payment in invoice.payments if payment.preimage],
            back=_back(invoice),
            problem=problem,
        )
        return SandboxResponse(400 if problem else 200, html.encode(), _HEADERS, _HTML)


def _static(path: str) -> SandboxResponse:
    if path.endswith(".svg"):
        return SandboxResponse(200, _ICON, media_type="image/svg+xml")
    style = files("keysat.sandbox").joinpath("templates/checkout.css").read_bytes()
    return SandboxResponse(200, style, media_type="text/css; charset=utf-8")


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("keysat.sandbox"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _state(invoice: Invoice) -> str:
    paid = Money(invoice.paid, invoice.draft.currency)
    if invoice.is_refunded:
        return f"Refunded {paid}."
    if invoice.status is Status.SETTLED:
        return f"Paid {paid}. The payment is confirmed."
    if invoice.status is Status.INVALID:
        return "Invalid."
    if any(not payment.is_confirmed for payment in invoice.payments):
        return f"Paid {paid}. The payment waits for its confirmation."
    if invoice.payments:
        return f"Paid {paid} so far{', and expired' if invoice.status is Status.EXPIRED else ''}."
    return "Expired." if invoice.status is Status.EXPIRED else "Waiting for your payment."


def _offered(invoice: Invoice) -> tuple[tuple[str, str], ...]:
    """Return the actions that make sense now, each with its label."""
    if any(not payment.is_confirmed for payment in invoice.payments):
        return (("confirm", "Confirm the payment"),)
    if invoice.status is Status.EXPIRED and not invoice.is_full:
        return (("pay", "Pay what is missing, late"),)
    if invoice.status is not Status.NEW:
        return ()
    return (("pay", "Pay the rest"), ("expire", "Let it expire")) if invoice.payments else _NEW


def _half(invoice: Invoice) -> str:
    return decimal_string(max(1, invoice.amount // 2), invoice.draft.currency)


def _back(invoice: Invoice) -> str | None:
    """Return where the buyer came from, if the seller told it and a browser may open it."""
    checkout = invoice.draft.checkout
    url = next((checkout[name] for name in _RETURN_URLS if isinstance(checkout.get(name), str)), "")
    return url if urlsplit(url).scheme in {"http", "https"} else None
