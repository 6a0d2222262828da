"""OpenNode's side: its routes for charges, over the same ledger, and its signed callbacks.

Shapes as `keysat.providers.opennode` cites them. A payment is a transaction on the chain, except that a charge that is
marked as settled has none, as one paid over Lightning. Money that comes in after the end changes no status. A callback
goes to the charge's own URL at each new status, once, since OpenNode describes no second try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlencode

from keysat.core.errors import InvalidInput
from keysat.core.money import DECIMALS, Money, parse_decimal
from keysat.sandbox.deliveries import Message
from keysat.sandbox.fields import Fields, parse_json
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.provider import Route
from keysat.sandbox.records import Draft, Event, Invoice, Kind, Payment, Status, Store
from keysat.sandbox.wire import Request, SandboxResponse

# They have the names of BTCPay's counterparts, so that all requests are counted alike.
_ROUTES = {"invoices": re.compile(r"/v1/charges/?"), "invoice": re.compile(r"/v1/charge/(?P<charge>[^/]+)/?")}
_EXPIRES_IN = 86_400
_SATS_PER_CENT = 10
_ECHOED = ("description", "callback_url", "success_url")
_IGNORED = ("customer_email", "customer_name", "notif_email", "auto_settle", "ttl")
_NEW_STATUS = {"InvoiceProcessing", "InvoiceSettled", "InvoiceExpired", "InvoiceInvalid"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_STATUSES = {
    Status.NEW: "unpaid",
    Status.PROCESSING: "processing",
    Status.EXPIRED: "expired",
    Status.INVALID: "failed",
    Status.SETTLED: "paid",
}


class OpenNode:
    """Responds as OpenNode does, as far as is known."""

    def __init__(self, ledger: Ledger, base_url: Callable[[], str]) -> None:
        """`base_url` gives the address that links to the checkout start with."""
        self._ledger, self._base_url = ledger, base_url

    def route(self, request: Request) -> Route:
        """Find out what a request is about, whether or not it will be allowed."""
        store = self._ledger.store_of_key(request.authorization, Kind.OPENNODE)
        store_id = store.id if store else None
        for noun, pattern in _ROUTES.items():
            match = pattern.fullmatch(request.path)
            if match:
                charge = match.groupdict().get("charge")
                return Route(f"{request.method} {noun}", store_id, unquote(charge) if charge else None)
        return Route(f"{request.method} unknown", store_id)

    def answer(self, request: Request, route: Route) -> SandboxResponse:
        """Carry a request out."""
        if route.store_id is None:
            return _problem(401, "Invalid API key")
        if route.name == "POST invoices":
            try:
                return self._show(201, self._ledger.create(route.store_id, _draft(parse_json(request.body))))
            except InvalidInput as error:
                return _problem(400, str(error))
        invoice = self._ledger.find(route.invoice_id or "") if route.name == "GET invoice" else None
        if invoice is None or invoice.store_id != route.store_id:
            return _problem(404, "The requested resource doesn't exist")
        return self._show(200, invoice)

    def _show(self, status: int, invoice: Invoice) -> SandboxResponse:
        checkout = f"{self._base_url()}/charge/{invoice.id}"
        return SandboxResponse(status, {"data": {**_charge(invoice), "hosted_checkout_url": checkout}})


def charge_messages(store: Store, event: Event) -> Iterator[Message]:
    """The callback of a new status, with the signature of the charge's id under the API key."""
    invoice = event.invoice
    url = invoice.draft.checkout.get("callback_url")
    is_underpaid = event.kind == "InvoiceReceivedPayment" and invoice.status is Status.NEW
    if not url or not (event.kind in _NEW_STATUS or is_underpaid):
        return
    charge = _charge(invoice)
    fields = {name: value for name, value in charge.items() if not isinstance(value, list) and value is not None}
    for number, transaction in enumerate(charge["transactions"]):
        fields |= {f"transactions[{number}][{name}]": value for name, value in transaction.items()}
    fields |= {"price": fields.pop("amount"), "fee": 0, "auto_settle": 0}
    fields["hashed_order"] = hmac.new(store.api_key.encode(), invoice.id.encode(), hashlib.sha256).hexdigest()
    yield Message(url, urlencode(fields).encode(), _FORM, redelivers=False)


def _charge(invoice: Invoice) -> dict[str, Any]:
    """OpenNode's charge. Amounts are in sats, except for the price in the currency of the request."""
    currency = invoice.draft.currency
    price, paid = _sats(invoice.amount, currency), _sats(invoice.paid, currency)
    is_underpaid = invoice.status is Status.NEW and bool(invoice.payments)
    return {
        **{name: invoice.draft.checkout.get(name) for name in _ECHOED},
        "id": invoice.id,
        "order_id": invoice.order_id,
        "status": "refunded" if invoice.is_refunded else "underpaid" if is_underpaid else _STATUSES[invoice.status],
        "amount": price,
        "currency": currency,
        "source_fiat_value": 0 if currency == "BTC" else Money(invoice.amount, currency).to_decimal(),
        "created_at": int(invoice.created_at),
        "ttl": _EXPIRES_IN // 60,
        "missing_amt": price - paid if is_underpaid else 0,
        "overpaid_by": max(0, paid - price),
        "transactions": [_transaction(payment, currency) for payment in invoice.payments],
    }


def _transaction(payment: Payment, currency: str) -> dict[str, Any]:
    return {
        "address": payment.destination,
        "created_at": int(payment.at),
        "settled_at": int(payment.at) if payment.is_confirmed else "",
        "tx": payment.id,
        "status": "confirmed" if payment.is_confirmed else "pending",
        "amount": _sats(payment.amount, currency),
    }


def _sats(amount: int, currency: str) -> int:
    return amount if currency == "BTC" else amount * _SATS_PER_CENT


def _draft(body: Any) -> Draft:
    """Read a request for a charge. A field that OpenNode isn't known to take is refused."""
    fields = Fields(body, "the charge", ("amount", "currency", "order_id", *_ECHOED, *_IGNORED))
    currency = fields.text_or_none("currency") or "BTC"
    if currency not in DECIMALS:
        raise InvalidInput(f"'currency' of the charge has to be one of {', '.join(DECIMALS)}.")
    amount = fields.any("amount")
    price = Money(amount, "BTC") if currency == "BTC" else parse_decimal(amount, currency)
    if price.amount == 0:
        raise InvalidInput("'amount' of the charge has to be more than 0.")
    return Draft(
        amount=price.amount,
        currency=currency,
        expires_in=_EXPIRES_IN,
        monitored_for=0,
        metadata={"orderId": fields.text_or_none("order_id")},
        checkout={name: fields.text(name) for name in _ECHOED if fields.has(name)},
        receipt={},
        search_terms=(),
    )


def _problem(status: int, message: str) -> SandboxResponse:
    return SandboxResponse(status, {"success": False, "message": message})
