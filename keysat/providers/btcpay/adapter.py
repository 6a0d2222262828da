"""The adapter for BTCPay Server's Greenfield API (v1).

Shapes and statuses follow BTCPay's OpenAPI description of July 2026. Amounts are decimal strings in whole units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Unpack
from urllib.parse import quote

from keysat.core.errors import (
    CredentialsRejected,
    InvalidInput,
    NotTheProvider,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.core.texts import printable
from keysat.models.invoice_status import PaymentException
from keysat.net.client import HttpClient, Limits
from keysat.providers.base import (
    CreatedInvoice,
    FoundInvoice,
    InvoicePage,
    InvoiceSnapshot,
    NewInvoice,
    Provider,
    ProviderStatus,
    ReceivedEvent,
    Webhook,
)
from keysat.providers.btcpay import webhooks
from keysat.providers.btcpay.responses import (
    CERTAIN_REFUSALS,
    EXCEPTIONS,
    STATUSES,
    Received,
    created_at,
    created_invoice,
    expires_at,
    lightning_payment,
    listed,
    mapping,
    money,
    order_id_of,
    own_error,
    received_payments,
    summary,
    text,
)
from keysat.providers.lightning import LightningPayment, PaymentState, ReceivedPayments
from keysat.providers.listing import read_page
from keysat.providers.metadata import own_metadata, policy_of
from keysat.providers.refusals import MIN_SECRET_BYTES, NoWebhookSecret, WebhookRejected
from keysat.providers.signed_events import read_event, require_signature

_MAX_STATUS = 60
_MAX_FOUND = 20
# BTCPay omits archived invoices from lists by default, and a paid archived invoice still needs its license.
_ARCHIVED = {"includeArchived": "true"}
_MSAT_PER_SAT = 1000
# As long as Keysat checks an unpaid invoice. BTCPay doesn't mark a payment invalid if it confirms within that time.
_MONITORING_MINUTES = 30 * 24 * 60


class BTCPay(Provider):
    """A BTCPay store. Credentials: `api_key`, and `webhook_secret` for webhooks."""

    kind: ClassVar[str] = "btcpay"
    pays_lightning: ClassVar[bool] = True
    proves_payments: ClassVar[bool] = True
    lists_invoices: ClassVar[bool] = True

    def __init__(self, base_url: str, store_id: str, credentials: Mapping[str, str], **limits: Unpack[Limits]) -> None:
        self._store_id = store_id
        self._webhook_secret = credentials.get("webhook_secret", "")
        self._store_path = f"/api/v1/stores/{quote(store_id, safe='')}"
        self._http = HttpClient(
            base_url,
            {"Authorization": f"token {credentials['api_key']}"},
            name="BTCPay",
            own_error=own_error,
            **limits,
        )

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        metadata = {"orderId": wanted.order_id, "itemDesc": wanted.description, **own_metadata(wanted)}
        if wanted.buyer_email:
            metadata["buyerEmail"] = wanted.buyer_email
        checkout: dict[str, Any] = {"monitoringMinutes": _MONITORING_MINUTES}
        if wanted.redirect_url:
            checkout["redirectURL"] = wanted.redirect_url
        body: dict[str, Any] = {
            "amount": f"{wanted.price.to_decimal():f}",
            "currency": wanted.price.currency,
            "metadata": metadata,
            "checkout": checkout,
        }
        private = [wanted.buyer_email or "", wanted.redirect_url or ""]  # the URL opens the purchase
        response = self._http.request("POST", f"{self._store_path}/invoices", json_body=body, private=private)
        return created_invoice(mapping(response))

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        wanted = {"orderId": order_id, "take": _MAX_FOUND, **_ARCHIVED}
        response = self._http.get(f"{self._store_path}/invoices", wanted)
        return [self._found(item) for item in listed(response) if order_id_of(item) == order_id]

    def list_invoices(self, since: datetime, until: datetime, skip: int, take: int) -> InvoicePage:
        span = {"startDate": int(since.timestamp()), "endDate": int(until.timestamp()), **_ARCHIVED}
        items = listed(self._http.get(f"{self._store_path}/invoices", {**span, "skip": skip, "take": take}))
        return read_page(items, self._found, created_at, order_id_of, is_last=len(items) < take)

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        path = f"{self._store_path}/invoices/{quote(provider_invoice_id, safe='')}"
        snapshot = self._snapshot(mapping(self._http.get(path)), provider_invoice_id)
        if snapshot.status is ProviderStatus.EXPIRED and snapshot.exception is PaymentException.PARTIAL:
            return replace(snapshot, unconfirmed=self._part_unconfirmed(provider_invoice_id))
        in_full = snapshot.exception in {PaymentException.LATE, PaymentException.OVER}
        paid_late = snapshot.status is ProviderStatus.EXPIRED and in_full
        unconfirmed = self._unconfirmed(provider_invoice_id) if paid_late else False
        if unconfirmed is None:  # a person reviews an expired invoice with money on it until it is confirmed
            return replace(
                snapshot,
                exception=PaymentException.NONE,
                provider_status=f"{snapshot.provider_status}, payments unknown",
            )
        if unconfirmed:
            return replace(
                snapshot, status=ProviderStatus.PROCESSING, provider_status=f"{snapshot.provider_status}, unconfirmed"
            )
        return snapshot

    def received(self, provider_invoice_id: str) -> ReceivedPayments:
        return summary(self._payments(provider_invoice_id))

    def _unconfirmed(self, provider_invoice_id: str) -> bool | None:
        """Return whether a payment is still unconfirmed. BTCPay reports `PaidLate` as soon as a payment is seen.

        None if BTCPay doesn't return the payments.
        """
        try:
            payments = self._payments(provider_invoice_id)
        except (RemoteNotFound, RemoteRefused, CredentialsRejected, NotTheProvider):
            return None
        return not payments or any(payment.status != "Settled" for payment in payments)

    def _part_unconfirmed(self, provider_invoice_id: str) -> bool:
        """Return whether a part payment isn't known to be confirmed. Nobody waits for it but the payer of the rest."""
        try:
            return self._unconfirmed(provider_invoice_id) is not False
        except RemoteError:
            return True

    def _payments(self, provider_invoice_id: str) -> list[Received]:
        path = f"/invoices/{quote(provider_invoice_id, safe='')}/payment-methods"
        try:
            return received_payments(self._http.get(f"/api/v1{path}"))
        except (RemoteNotFound, NotTheProvider):  # older servers have it only below the store
            return received_payments(self._http.get(self._store_path + path))

    def connect_webhook(self, url: str, secret: str) -> None:
        webhooks.register_webhook(self._http, self._store_path, url, secret)

    def check_credentials(self) -> None:
        self._http.get(f"{self._store_path}/invoices", {"take": 1})

    def _found(self, item: dict[str, Any]) -> FoundInvoice:
        snapshot = self._snapshot(item, text(item, "id"))
        return FoundInvoice(created_invoice(item), snapshot, created_at(item), policy_of(item))

    def _snapshot(self, response: dict[str, Any], wanted_id: str) -> InvoiceSnapshot:
        if text(response, "id") != wanted_id:
            raise RemoteResponseInvalid(f"BTCPay answered about another invoice than {wanted_id}.")
        if response.get("storeId", self._store_id) != self._store_id:
            raise RemoteResponseInvalid(f"BTCPay answered about invoice {wanted_id} of another store.")
        status, exception = response.get("status"), response.get("additionalStatus", "None")
        known = isinstance(status, str) and isinstance(exception, str) and exception in EXCEPTIONS
        return InvoiceSnapshot(
            provider_invoice_id=wanted_id,
            status=STATUSES.get(str(status), ProviderStatus.UNKNOWN) if known else ProviderStatus.UNKNOWN,
            exception=EXCEPTIONS.get(str(exception), PaymentException.NONE),
            charged=money(response, "amount"),
            paid=money(response, "paidAmount"),
            order_id=order_id_of(response),
            provider_status=printable(f"{status}/{exception}"[:_MAX_STATUS]),
            expires_at=expires_at(response),
        )

    def parse_webhook(self, webhook: Webhook) -> ReceivedEvent:
        if len(self._webhook_secret.encode()) < MIN_SECRET_BYTES:
            raise NoWebhookSecret
        given = {name.lower(): value for name, value in webhook.headers.items()}.get("btcpay-sig", "")
        require_signature(self._webhook_secret, webhook.body, given, prefix="sha256=")
        event, fields = read_event(webhook.body)
        if fields.get("storeId", self._store_id) != self._store_id:
            raise WebhookRejected("the webhook is about another store.")
        is_test = event.provider_invoice_id is not None and event.provider_invoice_id.startswith("__test__")
        return replace(event, provider_invoice_id=None) if is_test else replace(event, order_id=order_id_of(fields))

    def pay_lightning_invoice(self, bolt11: str, max_fee_msat: int) -> LightningPayment:
        if max_fee_msat < _MSAT_PER_SAT:  # BTCPay treats a limit of 0 as no limit
            raise InvalidInput(
                f"a fee limit of {max_fee_msat} msat can't be expressed at BTCPay; allow at least 1 sat."
            )
        body = {"BOLT11": bolt11, "maxFeeFlat": str(max_fee_msat // _MSAT_PER_SAT)}
        try:
            return lightning_payment(
                self._http.request("POST", f"{self._store_path}/lightning/BTC/invoices/pay", json_body=body)
            )
        except (RemoteUnavailable, RemoteResponseInvalid):
            return LightningPayment(None, PaymentState.UNKNOWN)  # it may have been sent: find it, never pay again
        except RemoteRefused as error:
            certain = error.code in CERTAIN_REFUSALS
            return LightningPayment(None, PaymentState.FAILED if certain else PaymentState.UNKNOWN)

    def find_lightning_payment(self, payment_hash: str) -> LightningPayment:
        path = f"{self._store_path}/lightning/BTC/payments/{quote(payment_hash, safe='')}"
        try:
            return lightning_payment(self._http.get(path))
        except RemoteNotFound:
            return LightningPayment(payment_hash, PaymentState.UNKNOWN, not_found=True)
