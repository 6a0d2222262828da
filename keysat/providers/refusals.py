"""Errors of adapters: unsupported operations and rejected webhooks."""

from __future__ import annotations

from keysat.core.errors import KeysatError

# A shorter webhook secret of any kind could be guessed by trying.
MIN_SECRET_BYTES = 24


def with_article(kind: str) -> str:
    """A kind of provider with its article: `a btcpay`, `an opennode`."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


class NotSupported(KeysatError):
    """The provider doesn't support the operation."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{with_article(kind)} provider can't {what}.")


class WebhookRejected(KeysatError):
    """A webhook's signature, token or shape is wrong, so it is not from the provider."""


class NoWebhookSecret(WebhookRejected):
    """The account has no webhook secret to verify webhooks with."""

    def __init__(self) -> None:
        super().__init__(f"this account has no webhook secret of at least {MIN_SECRET_BYTES} bytes.")


class WebhookMalformed(WebhookRejected):
    """A webhook has a valid signature or token, but isn't an event."""

    def __init__(self) -> None:
        super().__init__("the webhook's body is not an event.")
