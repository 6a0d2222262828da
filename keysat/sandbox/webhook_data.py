"""BTCPay's shapes of a webhook: in requests, in responses, and in its events."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from keysat.sandbox.deliveries import JSON, Message
from keysat.sandbox.drafts import Rejected
from keysat.sandbox.records import Event, Store, Webhook, new_id
from keysat.sandbox.wire import to_json


def btcpay_messages(store: Store, event: Event) -> Iterator[Message]:
    """BTCPay's `WebhookInvoiceEvent` with the fields of the event's own type, to each webhook that takes it."""
    for webhook in store.webhooks:
        if webhook.wants(event.kind):
            delivery_id = new_id()
            body = {
                "deliveryId": delivery_id,
                "webhookId": webhook.id,
                "originalDeliveryId": delivery_id,
                "isRedelivery": False,
                "type": event.kind,
                "timestamp": int(event.at),
                "storeId": store.id,
                "invoiceId": event.invoice.id,
                "metadata": event.invoice.draft.metadata,
                **event.details,
            }
            yield _signed(webhook, body)


def _signed(webhook: Webhook, body: dict[str, Any]) -> Message:
    """Sign an event. Its redelivery has its own id and names the original's."""
    content = to_json(body)
    signature = hmac.new(webhook.secret.encode(), content, hashlib.sha256).hexdigest()
    return Message(
        webhook.url,
        content,
        {**JSON, "BTCPay-Sig": f"sha256={signature}"},
        webhook.redelivers,
        lambda: _signed(webhook, {**body, "deliveryId": new_id(), "isRedelivery": True}),
    )


def parse_webhook(body: Any, before: Webhook | None = None) -> Webhook:
    """Read a WebhookDataCreate, or the WebhookDataUpdate of the webhook `before`.

    An update without a secret leaves the secret unchanged.

    Raises:
        Rejected: a field is malformed.
    """
    if not isinstance(body, dict):
        raise Rejected([("", "The request body has to be an object")])
    events = body.get("authorizedEvents")
    chosen = events if isinstance(events, dict) else {}
    url, secret, kinds = body.get("url"), body.get("secret") or "", chosen.get("specificEvents") or []
    problems = [
        (name, f"{name} has to be {wanted}")
        for name, wanted, fits in (
            ("url", "a URL", isinstance(url, str) and url.startswith(("http://", "https://"))),
            ("secret", "a text", isinstance(secret, str)),
            ("enabled", "true or false", _is_flag(body, "enabled")),
            ("automaticRedelivery", "true or false", _is_flag(body, "automaticRedelivery")),
            ("authorizedEvents", "an object", events is None or isinstance(events, dict)),
            ("authorizedEvents.everything", "true or false", _is_flag(chosen, "everything")),
            ("authorizedEvents.specificEvents", "a list of texts", _is_texts(kinds)),
        )
        if not fits
    ]
    if problems:
        raise Rejected(problems)
    return Webhook(
        url=str(url),
        secret=secret or (before.secret if before else new_id()),
        id=before.id if before else new_id(),
        enabled=body.get("enabled", True),
        redelivers=body.get("automaticRedelivery", True),
        everything=chosen.get("everything", True),
        events=tuple(kinds),
    )


def webhook_data(webhook: Webhook) -> dict[str, Any]:
    """Return BTCPay's `WebhookData`, which omits the secret."""
    return {
        "id": webhook.id,
        "enabled": webhook.enabled,
        "automaticRedelivery": webhook.redelivers,
        "url": webhook.url,
        "authorizedEvents": {"everything": webhook.everything, "specificEvents": list(webhook.events)},
    }


def _is_flag(values: dict[str, Any], name: str) -> bool:
    return isinstance(values.get(name, True), bool)


def _is_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
