"""Parse BTCPay's JSON responses into our types, or raise an error that describes the problem. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from keysat.core.errors import InvalidInput, RemoteAnswerInvalid
from keysat.core.money import Money, parse_decimal
from keysat.models.invoice import PaymentException
from keysat.net.client import Answer
from keysat.providers.base import CreatedInvoice, ProviderStatus
from keysat.providers.fields import require_object, require_text
from keysat.providers.lightning import LightningPayment, PaymentState

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


def own_error(problem: Any) -> bool:
    """Return whether an error's JSON is BTCPay's: `{"code", "message"}`, or a list of `{"path", "message"}`."""
    if isinstance(problem, list):
        return bool(problem) and all(
            isinstance(item, dict) and "path" in item and "message" in item for item in problem
        )
    return isinstance(problem, dict) and isinstance(problem.get("code"), str) and "message" in problem


@dataclass(frozen=True)
class Received:
    """A received payment. `received_at` is in Unix seconds."""

    status: str
    received_at: int


def created_invoice(answer: dict[str, Any]) -> CreatedInvoice:
    """Parse the id of an invoice and its checkout URL."""
    return CreatedInvoice(text(answer, "id"), text(answer, "checkoutLink"))


def order_id_of(fields: Any) -> str | None:
    """Return our invoice id from the metadata of an invoice or event, if present."""
    metadata = fields.get("metadata") if isinstance(fields, dict) else None
    order_id = metadata.get("orderId") if isinstance(metadata, dict) else None
    return order_id if isinstance(order_id, str) else None


def mapping(answer: Answer) -> dict[str, Any]:
    """Return the response as an object. Raises `RemoteAnswerInvalid`."""
    return require_object(answer.json, "BTCPay", "an invoice")


def text(answer: dict[str, Any], field: str) -> str:
    """Return a required text field. Raises `RemoteAnswerInvalid`."""
    return require_text(answer, field, "BTCPay's response")


def listed(answer: Answer) -> list[Any]:
    """Return a list of invoices without checking its entries. Raises `RemoteAnswerInvalid`."""
    if not isinstance(answer.json, list):
        raise RemoteAnswerInvalid("BTCPay's list of invoices has another shape than it should.")
    return answer.json


def created_at(answer: Any) -> datetime | None:
    """Return when an invoice was created, or None if unknown."""
    made = answer.get("createdTime") if isinstance(answer, dict) else None
    try:
        return datetime.fromtimestamp(made, UTC) if type(made) is int else None
    except (OverflowError, OSError, ValueError):
        return None


def policy_of(answer: dict[str, Any]) -> UUID | None:
    """Return the policy stored in an invoice's metadata, or None if Keysat didn't create the invoice."""
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("source") != "keysat":
        return None
    try:
        return UUID(str(metadata.get("keysatPolicy")))
    except ValueError:
        return None


def money(answer: dict[str, Any], field: str) -> Money | None:
    """Parse an amount in the invoice's currency, or None if missing. Raises `RemoteAnswerInvalid`."""
    if answer.get(field) is None:
        return None
    try:
        return parse_decimal(answer[field], text(answer, "currency"))
    except InvalidInput as error:
        raise RemoteAnswerInvalid(f"BTCPay's {field!r} can't be read: {error}") from error


def lightning_payment(answer: Answer) -> LightningPayment:
    """Parse the outcome of an outgoing payment. An unclear outcome is `UNKNOWN`."""
    body = answer.json if isinstance(answer.json, dict) else {}
    known = answer.status == 200
    state = _PAYMENTS.get(str(body.get("status")), PaymentState.UNKNOWN) if known else PaymentState.UNKNOWN
    fee, payment_hash = body.get("feeAmount"), body.get("paymentHash")
    return LightningPayment(
        payment_hash if isinstance(payment_hash, str) else None,
        state,
        int(fee) if isinstance(fee, str) and re.fullmatch("[0-9]{1,18}", fee) else None,
    )


def received_payments(answer: Answer) -> list[Received]:
    """Parse the payments of an invoice, of all its payment methods. Raises `RemoteAnswerInvalid`."""
    try:
        methods: list[Any] = answer.json if isinstance(answer.json, list) else [None]
        payments = [payment for method in methods for payment in method["payments"]]
        return [Received(payment["status"], _moment(payment.get("receivedDate", 0))) for payment in payments]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise RemoteAnswerInvalid("BTCPay's list of payments has another shape than it should.") from None


def _moment(value: object) -> int:
    """Return Unix seconds that are within the range the database supports."""
    if type(value) is not int or not 0 <= value < 2**33:
        raise ValueError(value)
    return value
