"""BTCPay's routes for a store's webhook: a store of the sandbox has one, and a new one replaces it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from keysat.embedded.sandbox.drafts import Rejected
from keysat.embedded.sandbox.records import Store, new_id


def registered(store: Store, body: Any) -> Store:
    """The store with a new webhook, or with its own one changed, as a WebhookDataCreate or WebhookDataUpdate says.

    Raises:
        Rejected: a field is malformed.
    """
    if not isinstance(body, dict) or not str(body.get("url", "")).startswith(("http://", "https://")):
        raise Rejected([("url", "The url has to start with http:// or https://")])
    events, secret = body.get("authorizedEvents") or {}, body.get("secret")
    specific = [] if events.get("everything", not events.get("specificEvents")) else events.get("specificEvents", [])
    same = body["url"] == store.webhook_url
    return replace(
        store,
        webhook_url=body["url"],
        webhook_secret=secret or (store.webhook_secret if same else secrets.token_urlsafe(20)),
        webhook_id=store.webhook_id if same else new_id(),
        webhook_events=frozenset(specific),
    )


def webhook_data(store: Store, *, with_secret: bool = False) -> dict[str, Any]:
    """BTCPay's `WebhookData`, or `WebhookDataCreateResult` with the secret."""
    return {
        "id": store.webhook_id,
        "enabled": True,
        "automaticRedelivery": True,
        "url": store.webhook_url,
        "authorizedEvents": {
            "everything": not store.webhook_events,
            "specificEvents": sorted(store.webhook_events),
        },
        **({"secret": store.webhook_secret} if with_secret else {}),
    }
