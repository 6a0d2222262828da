"""Sign deliveries in two ways: as existing receivers verify them, and as Standard Webhooks.

`X-Keysat-Signature` is `sha256=` and the hex HMAC-SHA256 of the body. Its key is the bytes of the secret as shown to
the operator. Standard Webhooks (https://www.standardwebhooks.com) sign id, time and body, which protects against
replays, with a signature for each active secret.
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
    """Return a new secret as shown to the operator: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(delivery_id: UUID, event_type: str, body: bytes, keys: Sequence[str], at: int) -> dict[str, str]:
    """Return the headers of a delivery. `at` is in Unix seconds. `keys` are the active secrets, newest first."""
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
    """Return the operator's secret if the Standard Webhooks libraries accept it: base64, with or without `whsec_`.

    Raises:
        InvalidInput: it isn't base64, or it is too short.
    """
    key = _decoded(secret)
    if key is None or len(key) < MIN_SECRET_BYTES:
        raise InvalidInput(
            f"the secret must be at least {MIN_SECRET_BYTES} bytes in base64, with or without {_PREFIX} before it, as "
            "the Standard Webhooks libraries take it; left out, one is made."
        )
    return secret


def _standard_key(secret: str) -> bytes:
    """Return the Standard Webhooks key: the decoded bytes. An older secret in another form is used unchanged."""
    key = _decoded(secret)
    return secret.encode() if key is None else key


def _decoded(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
