"""Parses clients' invoice requests. Rejects them as BTCPay does, with a list of paths and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keysat.core.errors import InvalidInput, KeysatError
from keysat.core.money import DECIMALS, parse_decimal
from keysat.sandbox.records import Draft, Invoice

_DEFAULT_CURRENCY = "BTC"
_MAX_MINUTES = 10_000_000
_LAST_SECOND = 2**53
_CHECKOUT: dict[str, type | tuple[type, ...]] = {
    "speedPolicy": str,
    "paymentMethods": list,
    "defaultPaymentMethod": str,
    "lazyPaymentMethods": bool,
    "redirectURL": str,
    "redirectAutomatically": bool,
    "defaultLanguage": str,
}
_RECEIPT: dict[str, type | tuple[type, ...]] = {"enabled": bool, "showQR": bool, "showPayments": bool}
_POLICIES = {"HighSpeed", "MediumSpeed", "LowSpeed", "LowMediumSpeed"}


class Rejected(KeysatError):
    """A request failed validation. `errors` is BTCPay's list of `{path, message}`."""

    def __init__(self, errors: Sequence[tuple[str, str]], status: int = 422) -> None:
        self.status = status
        self.errors = [{"path": path, "message": message} for path, message in errors]
        super().__init__("; ".join(message for _, message in errors))


class _Problems(list[tuple[str, str]]):
    """Collects all errors of a request, because BTCPay reports them together."""

    def section(self, body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = body.get(name)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.append((name, f"{name} has to be an object"))
        return {}

    def known(
        self, values: Mapping[str, Any], path: str, types: Mapping[str, type | tuple[type, ...]]
    ) -> dict[str, Any]:
        taken = {name: values[name] for name in types if values.get(name) is not None}
        for name, value in taken.items():
            if not isinstance(value, types[name]):
                self.append((f"{path}.{name}", f"{name} is of the wrong type"))
        return taken

    def minutes(self, values: Mapping[str, Any], name: str, default: int, *, minimum: int) -> int:
        value = values.get(name)
        if value is None:
            return default * 60
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= _MAX_MINUTES:
            self.append((f"checkout.{name}", f"{name} has to be a whole number of minutes, at least {minimum}"))
            return default * 60
        return value * 60


def parse_draft(body: Any) -> Draft:
    """Read a CreateInvoiceRequest. Fields that BTCPay doesn't know are ignored, as in BTCPay.

    Raises:
        Rejected: a field is malformed.
    """
    if not isinstance(body, dict):
        raise Rejected([("", "The request body has to be an object")])
    problems = _Problems()
    currency, amount = _price(body, problems)
    checkout = problems.section(body, "checkout")
    draft = Draft(
        amount=amount,
        currency=currency,
        expires_in=problems.minutes(checkout, "expirationMinutes", 15, minimum=1),
        monitored_for=problems.minutes(checkout, "monitoringMinutes", 1440, minimum=0),
        metadata=problems.section(body, "metadata"),
        checkout=_checkout(checkout, problems),
        receipt=problems.known(problems.section(body, "receipt"), "receipt", _RECEIPT),
        search_terms=_search_terms(body, problems),
    )
    if problems:
        raise Rejected(problems)
    return draft


def _price(body: Mapping[str, Any], problems: _Problems) -> tuple[str, int | None]:
    currency = body.get("currency") or _DEFAULT_CURRENCY
    currency = currency.upper() if isinstance(currency, str) else ""
    if currency not in DECIMALS:
        problems.append(("currency", "Invalid currency"))
        return _DEFAULT_CURRENCY, None
    if body.get("amount") is None:
        return currency, None
    try:
        return currency, parse_decimal(body["amount"], currency).amount
    except InvalidInput:
        problems.append(("amount", "The amount should be a decimal number of 0 or more."))
        return currency, None


def _checkout(values: Mapping[str, Any], problems: _Problems) -> dict[str, Any]:
    known = problems.known(values, "checkout", _CHECKOUT)
    if known.get("speedPolicy", "MediumSpeed") not in _POLICIES:
        problems.append(("checkout.speedPolicy", "Unknown speed policy"))
    # If a tolerance were ignored, the sandbox would settle other invoices than BTCPay does.
    if values.get("paymentTolerance") not in {None, 0}:
        problems.append(("checkout.paymentTolerance", "The sandbox has no payment tolerance"))
    return known


def _search_terms(body: Mapping[str, Any], problems: _Problems) -> tuple[str, ...]:
    terms = body.get("additionalSearchTerms") or []
    if isinstance(terms, list) and all(isinstance(term, str) for term in terms):
        return tuple(terms)
    problems.append(("additionalSearchTerms", "additionalSearchTerms has to be a list of texts"))
    return ()


@dataclass(frozen=True)
class Listing:
    """Filter for the invoices of a store. Dates are in Unix seconds. `take` is None for all invoices."""

    order_ids: frozenset[str]
    statuses: frozenset[str]
    text: str
    start: int
    end: int
    skip: int
    take: int | None
    archived: bool

    def fits(self, invoice: Invoice) -> bool:
        return (
            (self.archived or not invoice.is_archived)
            and (not self.order_ids or invoice.order_id in self.order_ids)
            and (not self.statuses or invoice.status.lower() in self.statuses)
            and self.start <= int(invoice.created_at) <= self.end
            and (not self.text or self.text in _searchable(invoice))
        )


def _searchable(invoice: Invoice) -> str:
    texts = [value for value in invoice.draft.metadata.values() if isinstance(value, str)]
    return "\n".join([invoice.id, *texts, *invoice.draft.search_terms]).lower()


def parse_listing(query: Mapping[str, Sequence[str]]) -> Listing:
    """Read the parameters of the list call. Without `take`, all invoices are returned, as in BTCPay.

    Raises:
        Rejected: a number is malformed.
    """
    return Listing(
        order_ids=frozenset(query.get("orderId", ())),
        statuses=frozenset(status.lower() for status in query.get("status", ())),
        text=query.get("textSearch", ("",))[0].lower(),
        start=_whole(query, "startDate") or 0,
        end=_LAST_SECOND if (end := _whole(query, "endDate")) is None else end,
        skip=_whole(query, "skip") or 0,
        take=_whole(query, "take"),
        archived=query.get("includeArchived", ("",))[0].lower() == "true",
    )


def _whole(query: Mapping[str, Sequence[str]], name: str) -> int | None:
    text = query.get(name, ("",))[0]
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Rejected([(name, f"The value '{text}' is not valid.")])
    return int(text)
