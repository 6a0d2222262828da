"""Signing deliveries, in two ways at once: as existing receivers verify, and as Standard Webhooks.

`X-Keysat-Signature` is `sha256=` and the hex HMAC-SHA256 of the body, its key the bytes of the secret as the operator
was shown it. Standard Webhooks (https://www.standardwebhooks.com) sign id, time and body, with a signature for each
secret that counts, and so protect from replays.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from uuid import UUID

from keysat.core.errors import InvalidInput

_PREFIX = "whsec_"
_SECRET_BYTES = 32
MIN_SECRET_BYTES = 24


def new_secret() -> str:
    """A secret as it is shown to the operator: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(delivery_id: UUID, event_type: str, body: bytes, keys: Sequence[str], at: int) -> dict[str, str]:
    """The headers of a delivery, at a time in unix seconds; `keys` are the secrets that count, newest first."""
    content = f"{delivery_id}.{at}.".encode() + body
    standard = (base64.b64encode(_hmac(_standard_key(key), content).digest()).decode() for key in keys)
    return {
        "Content-Type": "application/json",
        "X-Keysat-Event": event_type,
        "X-Keysat-Delivery": str(delivery_id),
        "X-Keysat-Signature": f"sha256={_hmac(keys[0].encode(), body).hexdigest()}",
        "webhook-id": str(delivery_id),
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in standard),
    }


def _hmac(key: bytes, content: bytes) -> hmac.HMAC:
    return hmac.new(key, content, hashlib.sha256)


def check_secret(secret: str) -> str:
    """A secret of the operator's, if the Standard Webhooks libraries take it: base64, with `whsec_` before it or not.

    Raises:
        InvalidInput: they don't, or it is too short.
    """
    key = _decoded(secret)
    if key is None or len(key) < MIN_SECRET_BYTES:
        raise InvalidInput(
            f"the secret must be at least {MIN_SECRET_BYTES} bytes in base64, with or without {_PREFIX} before it, as "
            "the Standard Webhooks libraries take it; left out, one is made."
        )
    return secret


def _standard_key(secret: str) -> bytes:
    """What Standard Webhooks take for the key: the decoded bytes. An older secret of another form signs as it is."""
    key = _decoded(secret)
    return secret.encode() if key is None else key


def _decoded(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
