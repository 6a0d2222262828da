"""Signed texts other than keys: JSON with `enc`, `sig` and `alg`, as Keygen's files have it. Pure.

`enc` is the content in base64. `sig` is the base64 of an Ed25519 signature over a prefix, a slash and `enc`. The prefix
says what the text is, so that no text passes for one of another kind. A license key is signed without one, and its
first byte is a version that no prefix begins with.
"""

from __future__ import annotations

import base64
import json
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "base64+ed25519"


class Prefix(StrEnum):
    """What is signed."""

    STATUS_LIST = "status-list"
    LICENSE = "license"
    MACHINE = "machine"


def sign_text(prefix: Prefix, content: bytes, key: Ed25519PrivateKey) -> str:
    """Return the signed text of a content, in one line. The same content and key always give the same text."""
    enc = base64.b64encode(content).decode()
    signature = base64.b64encode(key.sign(f"{prefix}/{enc}".encode())).decode()
    return json.dumps({"enc": enc, "sig": signature, "alg": ALGORITHM}, separators=(",", ":"))


def armor(noun: str, text: str) -> str:
    """Return a text in base64 between lines that name it, as in `-----BEGIN LICENSE FILE-----`."""
    return f"-----BEGIN {noun}-----\n{base64.encodebytes(text.encode()).decode()}-----END {noun}-----\n"
