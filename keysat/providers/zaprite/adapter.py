"""The adapter for Zaprite's orders API (v1). A Zaprite order is an invoice of ours.

The shapes are taken from other integrations and Zaprite's own examples, so anything odd or missing in a response is
treated as unknown. Amounts are integers in the smallest unit, sats for BTC and cents for the others.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import gcd
from typing import Any, ClassVar, NoReturn, Unpack
from urllib.parse import quote

from keysat.core.errors import RemoteNotFound, RemoteResponseInvalid
from keysat.net.client import HttpClient, Limits
from keysat.providers.base import (
    CreatedInvoice,
    FoundInvoice,
    InvoicePage,
    InvoiceSnapshot,
    NewInvoice,
    Provider,
    ReceivedEvent,
    Webhook,
)
from keysat.providers.listing import read_page
from keysat.providers.metadata import own_metadata
from keysat.providers.refusals import MIN_SECRET_BYTES, NotSupported, NoWebhookSecret, WebhookRejected
from keysat.providers.zaprite.responses import (
    created_order,
    event_of,
    found_order,
    made_at,
    order_id_of,
    order_of,
    snapshot_of,
)


class Zaprite(Provider):
    """A Zaprite organization. Credentials: `api_key`, and `webhook_secret`, the token in our webhook's URL."""

    kind: ClassVar[str] = "zaprite"
    has_stores: ClassVar[bool] = False
    token_in_url: ClassVar[bool] = True
    default_url: ClassVar[str | None] = "https://api.zaprite.com"
    lists_invoices: ClassVar[bool] = True
    lists_by_date: ClassVar[bool] = False
    max_page: ClassVar[int] = 100

    def __init__(self, base_url: str, store_id: str, credentials: Mapping[str, str], **limits: Unpack[Limits]) -> None:
        del store_id  # the API key alone identifies the organization
        self._webhook_secret = credentials.get("webhook_secret", "")
        self._http = HttpClient(
            base_url,
            {"Authorization": f"Bearer {credentials['api_key']}"},
            name="Zaprite",
            **limits,
        )

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        body: dict[str, Any] = {
            "amount": wanted.price.amount,
            "currency": wanted.price.currency,
            "externalUniqId": wanted.order_id,
            "label": wanted.description,
            "metadata": own_metadata(wanted),
        }
        if wanted.buyer_email:
            body["customerData"] = {"email": wanted.buyer_email}
        if wanted.redirect_url:
            body["redirectUrl"] = wanted.redirect_url
        private = [wanted.buyer_email or "", wanted.redirect_url or ""]  # the URL opens the purchase
        return created_order(order_of(self._http.request("POST", "/v1/orders", json_body=body, private=private)))

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        """Zaprite allows several orders with our id and returns one of them."""
        try:
            order = self._order(order_id)
        except RemoteNotFound:
            return []
        if order.get("externalUniqId") != order_id:
            raise RemoteResponseInvalid(f"Zaprite answered about another order than ours of id {order_id}.")
        return [FoundInvoice(created_order(order), snapshot_of(order))]

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        snapshot = snapshot_of(self._order(provider_invoice_id))
        # Zaprite also finds an order by our id.
        if snapshot.provider_invoice_id != provider_invoice_id:
            raise RemoteResponseInvalid(f"Zaprite answered about another order than {provider_invoice_id}.")
        return snapshot

    def list_invoices(self, since: datetime, until: datetime, skip: int, take: int) -> InvoicePage:
        """Zaprite lists by page, newest first, not by date. The page size is chosen to divide `skip`."""
        del until
        limit = gcd(skip, take) if skip else take
        page = skip // limit + 1
        body = self._http.get("/v1/orders", {"limit": limit, "page": page}).json
        items = body.get("items", body.get("data")) if isinstance(body, dict) else body
        if not isinstance(items, list):
            raise RemoteResponseInvalid("Zaprite's list of orders has another shape than it should.")
        meta = body.get("meta") if isinstance(body, dict) else None
        pages = meta.get("pagesCount") if isinstance(meta, dict) else None
        read = read_page(items, found_order, made_at, order_id_of, is_last=False)
        is_last_page = page >= pages if type(pages) is int else len(items) < limit
        old = read.oldest is not None and read.oldest < since
        return replace(read, is_last=is_last_page or old or not items)

    def check_credentials(self) -> None:
        self._http.get("/v1/orders", {"limit": 1})

    def connect_webhook(self, url: str, secret: str) -> NoReturn:
        del url, secret
        raise NotSupported(self.kind, "register a webhook by itself; enter the webhook's URL at Zaprite by hand")

    def parse_webhook(self, webhook: Webhook) -> ReceivedEvent:
        secret = self._webhook_secret.encode()
        if len(secret) < MIN_SECRET_BYTES:
            raise NoWebhookSecret
        if not hmac.compare_digest(webhook.token.encode("utf-8", "surrogatepass"), secret):
            raise WebhookRejected("the token in the webhook's URL is not this account's.")
        return event_of(webhook.body)

    def _order(self, order_id: str) -> dict[str, Any]:
        return order_of(self._http.get(f"/v1/orders/{quote(order_id, safe='')}"))
