"""Register our webhook at a BTCPay store."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from keysat.core.errors import NotTheProvider, PermissionMissing, RemoteNotFound, RemoteResponseInvalid
from keysat.core.hints import Hint
from keysat.net.client import HttpClient

PERMISSION = "btcpay.store.webhooks.canmodifywebhooks"
EVENTS = (
    "InvoiceCreated",
    "InvoiceReceivedPayment",
    "InvoiceProcessing",
    "InvoiceExpired",
    "InvoiceSettled",
    "InvoiceInvalid",
    "InvoicePaymentSettled",
)


def register_webhook(http: HttpClient, store_path: str, url: str, secret: str) -> None:
    """Register `url` at the store of that API path, signed with `secret`. Existing webhooks with the URL are updated.

    Raises:
        PermissionMissing: the API key doesn't permit it. The message names the missing permission.
        RemoteError: as `keysat.net.client`.
    """
    webhook = {
        "url": url,
        "secret": secret,
        "enabled": True,
        "automaticRedelivery": True,
        "authorizedEvents": {"everything": False, "specificEvents": list(EVENTS)},
    }
    try:
        known = _ids_at(http, store_path, url)
        for webhook_id in known:
            _update(http, store_path, webhook_id, webhook)
        if not known:
            http.request("POST", f"{store_path}/webhooks", json_body=webhook, private=[secret])
    except PermissionMissing:
        raise PermissionMissing(
            f"BTCPay doesn't let this API key register a webhook: it needs the permission {PERMISSION}, "
            "besides those for invoices.",
            Hint.RENEW_ACCOUNT,
        ) from None


def _ids_at(http: HttpClient, store_path: str, url: str) -> list[str]:
    """Return the ids of the webhooks with that URL, quoted for use in a path."""
    response = http.get(f"{store_path}/webhooks").json
    try:
        webhooks: list[Any] = response if isinstance(response, list) else [None]
        return [quote(webhook["id"], safe="") for webhook in webhooks if webhook["url"] == url]
    except (TypeError, KeyError):
        raise RemoteResponseInvalid("BTCPay's list of webhooks has another shape than it should.") from None


def _update(http: HttpClient, store_path: str, webhook_id: str, webhook: dict[str, Any]) -> None:
    private = [webhook["secret"]]
    try:
        http.request("PUT", f"/api/v1/webhooks/{webhook_id}", json_body=webhook, private=private)
    except (RemoteNotFound, NotTheProvider):  # an older BTCPay has it only below the store
        http.request("PUT", f"{store_path}/webhooks/{webhook_id}", json_body=webhook, private=private)
