"""Reading BTCPay's answers: JSON in its shapes, into ours, or an error that says what is wrong with it. Pure."""

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
from keysat.providers.base import CreatedInvoice, LightningPayment, PaymentState, ProviderStatus

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
# Of BTCPay's refusals this one alone says that nothing was sent; its `generic-error` may hide a payment under way.
CERTAIN_REFUSALS = {"could-not-find-route"}
_PAYMENTS = {"Complete": PaymentState.PAID, "Failed": PaymentState.FAILED}


def own_error(problem: Any) -> bool:
    """Whether a refusal's JSON is BTCPay's: `{"code", "message"}`, or a list of `{"path", "message"}`."""
    if isinstance(problem, list):
        return bool(problem) and all(
            isinstance(item, dict) and "path" in item and "message" in item for item in problem
        )
    return isinstance(problem, dict) and isinstance(problem.get("code"), str) and "message" in problem


@dataclass(frozen=True)
class Received:
    """A payment that came in; `received_at` in Unix seconds."""

    status: str
    received_at: int


def created_invoice(answer: dict[str, Any]) -> CreatedInvoice:
    """Read the id of an invoice and where it is paid."""
    return CreatedInvoice(text(answer, "id"), text(answer, "checkoutLink"))


def order_id_of(fields: Any) -> str | None:
    """Read our invoice id from the metadata of an invoice or event, where it carries one."""
    metadata = fields.get("metadata") if isinstance(fields, dict) else None
    order_id = metadata.get("orderId") if isinstance(metadata, dict) else None
    return order_id if isinstance(order_id, str) else None


def mapping(answer: Answer) -> dict[str, Any]:
    """Take an answer for an object. Raises `RemoteAnswerInvalid`."""
    if not isinstance(answer.json, dict):
        raise RemoteAnswerInvalid("BTCPay sent JSON of another shape than an invoice.")
    return answer.json


def text(answer: dict[str, Any], field: str) -> str:
    """Read a field that has to be a text. Raises `RemoteAnswerInvalid`."""
    value = answer.get(field)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise RemoteAnswerInvalid(f"BTCPay's answer has no usable {field!r}.")
    return value


def listed(answer: Answer) -> list[Any]:
    """Read a list of invoices, whatever its entries are. Raises `RemoteAnswerInvalid`."""
    if not isinstance(answer.json, list):
        raise RemoteAnswerInvalid("BTCPay's list of invoices has another shape than it should.")
    return answer.json


def created_at(answer: Any) -> datetime | None:
    """Read when an invoice was made; None where it isn't told."""
    made = answer.get("createdTime") if isinstance(answer, dict) else None
    try:
        return datetime.fromtimestamp(made, UTC) if type(made) is int else None
    except (OverflowError, OSError, ValueError):
        return None


def policy_of(answer: dict[str, Any]) -> UUID | None:
    """Read which policy we said that an invoice is for; None where it isn't one that we had made."""
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("source") != "keysat":
        return None
    try:
        return UUID(str(metadata.get("keysatPolicy")))
    except ValueError:
        return None


def money(answer: dict[str, Any], field: str) -> Money | None:
    """Read an amount in the answer's currency; None where it isn't told. Raises `RemoteAnswerInvalid`."""
    if answer.get(field) is None:
        return None
    try:
        return parse_decimal(answer[field], text(answer, "currency"))
    except InvalidInput as error:
        raise RemoteAnswerInvalid(f"BTCPay's {field!r} can't be read: {error}") from error


def lightning_payment(answer: Answer) -> LightningPayment:
    """Read what became of an outgoing payment; whatever isn't clear is unknown."""
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
    """Read the payments of an invoice, of all its payment methods. Raises `RemoteAnswerInvalid`."""
    try:
        methods: list[Any] = answer.json if isinstance(answer.json, list) else [None]
        payments = [payment for method in methods for payment in method["payments"]]
        return [Received(payment["status"], _moment(payment.get("receivedDate", 0))) for payment in payments]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise RemoteAnswerInvalid("BTCPay's list of payments has another shape than it should.") from None


def _moment(value: object) -> int:
    """Unix seconds within the years that a table can hold."""
    if type(value) is not int or not 0 <= value < 2**33:
        raise ValueError(value)
    return value
