"""BTCPay's shapes of a webhook: in requests and in responses."""

from __future__ import annotations

from typing import Any

from keysat.sandbox.drafts import Rejected
from keysat.sandbox.records import Webhook, new_id


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
    return isinstance(values, list) and all(isinstance(one, str) for one in values)
