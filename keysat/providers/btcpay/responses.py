"""Parse BTCPay's JSON responses into our types, or raise an error that describes the problem. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keysat.core.errors import InvalidInput, RemoteResponseInvalid
from keysat.core.money import Money, parse_decimal
from keysat.models.invoice_status import PaymentException
from keysat.net.client import HttpResponse
from keysat.providers.base import CreatedInvoice, ProviderStatus
from keysat.providers.fields import optional_object, optional_text, require_object, require_text, unix_time
from keysat.providers.lightning import LightningPayment, PaymentState, ReceivedPayments

STATUSES = {
    "New": ProviderStatus.PENDING,
    "Processing": ProviderStatus.PROCESSING,
    "Settled": ProviderStatus.SETTLED,
    "Expired": ProviderStatus.EXPIRED,
    "Invalid": ProviderStatus.INVALID,
}
EXCEPTIONS = {
    "None": PaymentException.NONE,
    "Invalid": PaymentException.NONE,
    "PaidLate": PaymentException.LATE,
    "PaidPartial": PaymentException.PARTIAL,
    "PaidOver": PaymentException.OVER,
    "Marked": PaymentException.MARKED,
}
# Only this BTCPay error means that nothing was sent. A `generic-error` may hide a payment in flight.
CERTAIN_REFUSALS = {"could-not-find-route"}
_PAYMENTS = {"Complete": PaymentState.PAID, "Failed": PaymentState.FAILED}
# BTC-LN and BTC-LNURL. BTCPay 1 has the longer names, in `paymentMethod`.
_LIGHTNING = re.compile("[A-Z]+-(LN|LNURL|LightningNetwork|LNURLPAY)")
_PAYMENT_HASH = re.compile("[0-9a-f]{64}")


def own_error(problem: Any) -> bool:
    """Return whether an error's JSON is BTCPay's: `{"code", "message"}`, or a list of `{"path", "message"}`."""
    if isinstance(problem, list):
        return bool(problem) and all(
            isinstance(item, dict) and "path" in item and "message" in item for item in problem
        )
    return isinstance(problem, dict) and isinstance(problem.get("code"), str) and "message" in problem


@dataclass(frozen=True)
class Received:
    """A received payment. `received_at` is in Unix seconds. `payment_hash` is None unless it came over Lightning."""

    status: str
    received_at: int
    payment_hash: bytes | None = None


def created_invoice(response: dict[str, Any]) -> CreatedInvoice:
    """Parse the id of an invoice, its checkout URL, and until when it can be paid."""
    return CreatedInvoice(text(response, "id"), text(response, "checkoutLink"), expires_at(response))


def order_id_of(fields: Any) -> str | None:
    """Return our invoice id from the metadata of an invoice or event, if present."""
    return optional_text(optional_object(fields, "metadata"), "orderId")


def mapping(response: HttpResponse) -> dict[str, Any]:
    """Return the response as an object. Raises `RemoteResponseInvalid`."""
    return require_object(response.json, "BTCPay", "an invoice")


def text(response: dict[str, Any], field: str) -> str:
    """Return a required text field. Raises `RemoteResponseInvalid`."""
    return require_text(response, field, "BTCPay's response")


def listed(response: HttpResponse) -> list[Any]:
    """Return a list of invoices without checking its entries. Raises `RemoteResponseInvalid`."""
    if not isinstance(response.json, list):
        raise RemoteResponseInvalid("BTCPay's list of invoices has another shape than it should.")
    return response.json


def created_at(response: Any) -> datetime | None:
    """Return when an invoice was created, or None if unknown."""
    return unix_time(response.get("createdTime")) if isinstance(response, dict) else None


def expires_at(response: dict[str, Any]) -> datetime | None:
    """Return until when an invoice can be paid, or None if unknown."""
    return unix_time(response.get("expirationTime"))


def money(response: dict[str, Any], field: str) -> Money | None:
    """Parse an amount in the invoice's currency, or None if missing. Raises `RemoteResponseInvalid`."""
    if response.get(field) is None:
        return None
    try:
        return parse_decimal(response[field], text(response, "currency"))
    except InvalidInput as error:
        raise RemoteResponseInvalid(f"BTCPay's {field!r} can't be read: {error}") from error


def lightning_payment(response: HttpResponse) -> LightningPayment:
    """Parse the outcome of an outgoing payment. An unclear outcome is `UNKNOWN`."""
    body = response.json if isinstance(response.json, dict) else {}
    known = response.status == 200
    state = _PAYMENTS.get(str(body.get("status")), PaymentState.UNKNOWN) if known else PaymentState.UNKNOWN
    fee = optional_text(body, "feeAmount")
    return LightningPayment(
        optional_text(body, "paymentHash"),
        state,
        int(fee) if fee is not None and re.fullmatch("[0-9]{1,18}", fee) else None,
    )


def received_payments(response: HttpResponse) -> list[Received]:
    """Parse the payments of an invoice, of all its payment methods. Raises `RemoteResponseInvalid`."""
    try:
        methods: list[Any] = response.json if isinstance(response.json, list) else [None]
        return [
            Received(payment["status"], _moment(payment.get("receivedDate", 0)), _payment_hash(method, payment))
            for method in methods
            for payment in method["payments"]
        ]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise RemoteResponseInvalid("BTCPay's list of payments has another shape than it should.") from None


def summary(payments: list[Received]) -> ReceivedPayments:
    """Return the time of the last payment, and the hash of the only one if it is a settled Lightning payment."""
    last_at = max((payment.received_at for payment in payments), default=None)
    hashes = {payment.payment_hash for payment in payments if len(payments) == 1 and payment.status == "Settled"}
    return ReceivedPayments(
        None if last_at is None else datetime.fromtimestamp(last_at, UTC),
        tuple(payment_hash for payment_hash in hashes if payment_hash is not None),
    )


def _payment_hash(method: dict[str, Any], payment: dict[str, Any]) -> bytes | None:
    """Return a payment's id, which is its payment hash if it came over Lightning."""
    name = optional_text(method, "paymentMethodId") or optional_text(method, "paymentMethod") or ""
    payment_hash = optional_text(payment, "id") or ""
    is_proof = _LIGHTNING.fullmatch(name) and _PAYMENT_HASH.fullmatch(payment_hash)
    return bytes.fromhex(payment_hash) if is_proof else None


def _moment(value: object) -> int:
    """Return Unix seconds that are within the range the database supports."""
    if type(value) is not int or not 0 <= value < 2**33:
        raise ValueError(value)
    return value
