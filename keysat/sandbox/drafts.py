"""Parses clients' invoice requests. Rejects them as BTCPay does, with a list of paths and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from keysat.core.errors import InvalidInput, KeysatError
from keysat.core.money import DECIMALS, parse_decimal
from keysat.sandbox.records import Draft, Invoice

_DEFAULT_CURRENCY = "BTC"
_MAX_MINUTES = 10_000_000
_LAST_SECOND = 2**53


class Rejected(KeysatError):
    """A request failed validation. `errors` is BTCPay's list of `{path, message}`."""

    def __init__(self, errors: Sequence[tuple[str, str]], status: int = 422) -> None:
        self.status = status
        self.errors = [{"path": path, "message": message} for path, message in errors]
        super().__init__("; ".join(message for _, message in errors))


class _Shape(BaseModel):
    """A part of BTCPay's CreateInvoiceRequest. A field that is missing or null is None."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Checkout(_Shape):
    speed_policy: Literal["HighSpeed", "MediumSpeed", "LowSpeed", "LowMediumSpeed"] | None = None
    payment_methods: list[Any] | None = None
    default_payment_method: str | None = None
    lazy_payment_methods: bool | None = None
    redirect_url: str | None = Field(None, alias="redirectURL")
    redirect_automatically: bool | None = None
    default_language: str | None = None
    expiration_minutes: int | None = Field(None, ge=1, le=_MAX_MINUTES, exclude=True)
    monitoring_minutes: int | None = Field(None, ge=0, le=_MAX_MINUTES, exclude=True)
    # If a tolerance were ignored, the sandbox would settle other invoices than BTCPay does.
    payment_tolerance: Decimal | None = Field(None, ge=0, le=0, strict=False, exclude=True)


class _Receipt(_Shape):
    enabled: bool | None = None
    show_qr: bool | None = Field(None, alias="showQR")
    show_payments: bool | None = None


class _Request(_Shape):
    currency: str | None = None
    amount: Any = None
    metadata: dict[str, Any] | None = None
    checkout: _Checkout | None = None
    receipt: _Receipt | None = None
    additional_search_terms: list[str] | None = None


def parse_draft(body: Any) -> Draft:
    """Read a CreateInvoiceRequest. Fields that BTCPay doesn't know are ignored, as in BTCPay.

    Raises:
        Rejected: a field is malformed.
    """
    try:
        request = _Request.model_validate(body)
    except ValidationError as error:
        raise Rejected([(_path(problem["loc"]), f"{problem['msg']}.") for problem in error.errors()]) from None
    currency, amount = _price(request)
    checkout, receipt = request.checkout or _Checkout(), request.receipt or _Receipt()
    expires, monitored = checkout.expiration_minutes, checkout.monitoring_minutes
    return Draft(
        amount=amount,
        currency=currency,
        expires_in=60 * (15 if expires is None else expires),
        monitored_for=60 * (1440 if monitored is None else monitored),
        metadata=request.metadata or {},
        checkout=checkout.model_dump(by_alias=True, exclude_none=True),
        receipt=receipt.model_dump(by_alias=True, exclude_none=True),
        search_terms=tuple(request.additional_search_terms or ()),
    )


def _path(place: tuple[int | str, ...]) -> str:
    """Return a field's path as BTCPay names it. An entry of a list has the list's."""
    return ".".join(part for part in place if isinstance(part, str))


def _price(request: _Request) -> tuple[str, int | None]:
    currency = (request.currency or _DEFAULT_CURRENCY).upper()
    if currency not in DECIMALS:
        raise Rejected([("currency", "Invalid currency")])
    try:
        return currency, None if request.amount is None else parse_decimal(request.amount, currency).amount
    except InvalidInput:
        raise Rejected([("amount", "The amount should be a decimal number of 0 or more.")]) from None


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
