"""OpenNode through its charges API (v1): a charge of OpenNode's is an invoice of ours.

What the adapter relies on, and where it is written:

- `POST /v1/charges` takes an amount in sats, or in the currency that comes with it, and the webhook's URL of this one
  charge (https://developers.opennode.com/docs/creating-a-charge). The reply carries the charge in `data`, a refusal has
  a `message` (https://developers.opennode.com/docs/errors).
- `created_at` is in Unix seconds, and `ttl` is the life of the checkout in minutes (the same pages).
- `amount` is in sats. `source_fiat_value` is the price in the currency of the request (`src/types` of
  https://github.com/opennodedev/opennode-node).
- The statuses are those of https://developers.opennode.com/docs/charge-lifecycle. `failed`, which the types above list,
  is described nowhere, so it is as unknown as any other.
- The webhook is a form. Its `hashed_order` is the HMAC-SHA256 of the charge's id under the API key that made the charge
  (https://developers.opennode.com/docs/charges-webhooks). So nothing but the id is proven. After a new API key, the
  webhooks of older charges are rejected, and the scan finds their payments.
- No charge is found by our id, and the list of charges has no pages that are described.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NoReturn, Unpack
from urllib.parse import parse_qsl, quote
from uuid import UUID

from keysat.core.errors import InvalidInput, RemoteNotFound, RemoteResponseInvalid
from keysat.core.money import Money, parse_decimal
from keysat.core.texts import printable
from keysat.models.invoice_status import PaymentException
from keysat.net.client import HttpClient, HttpResponse, Limits
from keysat.providers.base import (
    CreatedInvoice,
    FoundInvoice,
    InvoiceSnapshot,
    NewInvoice,
    Provider,
    ProviderStatus,
    ReceivedEvent,
    Webhook,
)
from keysat.providers.fields import optional_text, require_object, require_text, unix_time
from keysat.providers.refusals import NotSupported, WebhookMalformed, WebhookRejected
from keysat.providers.signed_events import is_name, require_signature

_STATUSES = {
    "unpaid": ProviderStatus.PENDING,
    "processing": ProviderStatus.PROCESSING,  # seen on the chain, not confirmed
    "paid": ProviderStatus.SETTLED,
    "expired": ProviderStatus.EXPIRED,
    # The buyer may still send what is missing or take the money back, at any time. So a person sees it at once.
    "underpaid": ProviderStatus.EXPIRED,
    "refunded": ProviderStatus.REFUNDED,
}
_MAX_STATUS, _MAX_FIELDS = 60, 500
_NO_CHARGE = UUID(int=0)


class OpenNode(Provider):
    """One account at OpenNode. Credentials: `api_key`, which signs the webhooks, too."""

    kind: ClassVar[str] = "opennode"
    has_stores: ClassVar[bool] = False
    callback_per_invoice: ClassVar[bool] = True
    finds_by_order: ClassVar[bool] = False
    default_url: ClassVar[str | None] = "https://api.opennode.com"

    def __init__(self, base_url: str, store_id: str, credentials: Mapping[str, str], **limits: Unpack[Limits]) -> None:
        del store_id  # the API key alone names the merchant
        self._api_key = credentials["api_key"]
        self._http = HttpClient(
            base_url,
            {"Authorization": self._api_key},
            name="OpenNode",
            **limits,
        )

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        in_sats = wanted.price.currency == "BTC"
        optional = {
            "currency": None if in_sats else wanted.price.currency,
            "customer_email": wanted.buyer_email,
            "callback_url": wanted.callback_url,
            "success_url": wanted.redirect_url,
        }
        body = {
            "amount": wanted.price.amount if in_sats else f"{wanted.price.to_decimal():f}",
            "description": wanted.description,
            "order_id": wanted.order_id,
            **{name: value for name, value in optional.items() if value},
        }
        private = [wanted.buyer_email or "", wanted.redirect_url or ""]  # the URL opens the purchase
        return _created(_charge_of(self._http.request("POST", "/v1/charges", json_body=body, private=private)))

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        return _snapshot(self._charge(provider_invoice_id))

    def find_named(self, provider_invoice_id: str) -> FoundInvoice:
        charge = self._charge(provider_invoice_id)
        return FoundInvoice(_created(charge), _snapshot(charge))

    def check_credentials(self) -> None:
        # A charge that can't exist: its absence takes no more permission than reading charges does.
        try:
            self._http.get(f"/v1/charge/{_NO_CHARGE}")
        except RemoteNotFound:
            return

    def connect_webhook(self, url: str, secret: str) -> NoReturn:
        del url, secret
        raise NotSupported(self.kind, "register a webhook; each charge carries the URL of its own")

    def parse_webhook(self, webhook: Webhook) -> ReceivedEvent:
        try:
            fields = parse_qsl(webhook.body.decode(), max_num_fields=_MAX_FIELDS, errors="strict")
        except ValueError:
            raise WebhookRejected("the webhook's body is not a form.") from None
        charge_id, signature = _only(fields, "id"), _only(fields, "hashed_order")
        if charge_id is None or signature is None:
            raise WebhookRejected("the webhook's body has no charge's id with its signature.")
        require_signature(self._api_key, charge_id.encode(), signature)
        status = _only(fields, "status")
        if status is None:
            raise WebhookMalformed
        # Its deliveries have no number, so what comes twice is one delivery, and another status has another body.
        return ReceivedEvent(hashlib.sha256(webhook.body).hexdigest(), status, charge_id, _only(fields, "order_id"))

    def _charge(self, charge_id: str) -> dict[str, Any]:
        charge = _charge_of(self._http.get(f"/v1/charge/{quote(charge_id, safe='')}"))
        if _text(charge, "id") != charge_id:
            raise RemoteResponseInvalid(f"OpenNode answered about another charge than {charge_id}.")
        return charge


def _only(fields: list[tuple[str, str]], name: str) -> str | None:
    """Read a field that occurs once. Of two with one name, two readers may choose different ones."""
    values = [value for field, value in fields if field == name]
    return values[0] if len(values) == 1 and is_name(values[0]) else None


def _charge_of(response: HttpResponse) -> dict[str, Any]:
    data = response.json.get("data") if isinstance(response.json, dict) else None
    return require_object(data, "OpenNode", "a charge")


def _text(charge: dict[str, Any], field: str) -> str:
    return require_text(charge, field, "OpenNode's charge")


def _created(charge: dict[str, Any]) -> CreatedInvoice:
    return CreatedInvoice(_text(charge, "id"), _text(charge, "hosted_checkout_url"), _expires_at(charge))


def _expires_at(charge: dict[str, Any]) -> datetime | None:
    """Return when the checkout ends. The Lightning invoice in it ends sooner, and the checkout renews it."""
    made, minutes = charge.get("created_at"), charge.get("ttl")
    return unix_time(made + 60 * minutes) if type(made) is int and type(minutes) is int else None


def _snapshot(charge: dict[str, Any]) -> InvoiceSnapshot:
    word = str(charge.get("status")) or "no status"
    status, charged = _STATUSES.get(word, ProviderStatus.UNKNOWN), _charged(charge)
    paid = _paid(charge, charged, word)
    received = 0 if paid is None else paid.amount
    exception = PaymentException.NONE
    if word == "underpaid" or (status is ProviderStatus.EXPIRED and received > 0):
        exception = PaymentException.PARTIAL  # OpenNode describes no full payment of an expired charge
    elif status is ProviderStatus.SETTLED and charged is not None and received > charged.amount:
        exception = PaymentException.OVER
    return InvoiceSnapshot(
        provider_invoice_id=_text(charge, "id"),
        status=status,
        exception=exception,
        charged=charged,
        paid=paid,
        order_id=optional_text(charge, "order_id"),
        provider_status=printable(word[:_MAX_STATUS]),
        unconfirmed=status is not ProviderStatus.SETTLED and not all(map(_is_confirmed, _transactions(charge))),
        expires_at=_expires_at(charge),
    )


def _charged(charge: dict[str, Any]) -> Money | None:
    """Read the price in the currency of our request, or None if the charge has none."""
    currency = charge.get("currency") or "BTC"
    value = charge.get("amount") if currency == "BTC" else charge.get("source_fiat_value")
    try:
        if value is None:
            return None
        return Money(value, "BTC") if currency == "BTC" else parse_decimal(value, currency)
    except (InvalidInput, TypeError) as error:
        raise RemoteResponseInvalid("the price of OpenNode's charge can't be read.") from error


def _paid(charge: dict[str, Any], charged: Money | None, word: str) -> Money | None:
    """Read the money received, or None if the charge has none.

    It is in sats. Of a price in another currency it is the same part as of the charge's sats, rounded down to the
    smallest unit.
    """
    sats, of = _received(charge, word), _sats(charge.get("amount"))
    if charged is None or sats is None or not of:
        return None
    amount = sats if charged.currency == "BTC" else charged.amount * sats // of
    try:
        return Money(amount, charged.currency)
    except InvalidInput as error:
        raise RemoteResponseInvalid("what was paid of OpenNode's charge is no amount.") from error


def _received(charge: dict[str, Any], word: str) -> int | None:
    """Read the received sats, or None for an unknown status. Unconfirmed ones are in for an underpaid charge only."""
    price, missing, over = (_sats(charge.get(name)) for name in ("amount", "missing_amt", "overpaid_by"))
    transactions = _transactions(charge)
    if price is None or word not in _STATUSES:
        return None
    if word == "underpaid" and missing is not None and 0 < missing <= price:
        return price - missing
    if word == "paid" and not transactions:  # as over Lightning
        return max(0, price - (missing or 0) + (over or 0))
    counted = (
        transactions
        if word in {"paid", "underpaid"}
        else [transaction for transaction in transactions if _is_confirmed(transaction)]
    )
    amounts = [_sats(transaction.get("amount")) for transaction in counted]
    return None if None in amounts else sum(amount or 0 for amount in amounts)


def _transactions(charge: dict[str, Any]) -> list[dict[str, Any]]:
    listed = charge.get("transactions")
    return [transaction for transaction in listed if isinstance(transaction, dict)] if isinstance(listed, list) else []


def _is_confirmed(transaction: dict[str, Any]) -> bool:
    """Whether it is settled on the chain. Its time is empty before."""
    return bool(transaction.get("settled_at"))


def _sats(value: Any) -> int | None:
    """Read a whole number of sats, which OpenNode's examples have as a number and as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if type(value) is int and value >= 0 else None
