"""The license key's format, LIC1. Pure.

`LIC1-<base32 payload>-<base32 signature>`, RFC 4648 base32 in upper case without padding, Ed25519 over the payload.
Source: the wire format that published clients verify (`keysat-licensing-client` 0.3.0).

Payload v2, big-endian: version 2 (1 byte), flags (1), product id (16), license id (16), issued_at (8), expires_at (8,
0 = perpetual), SHA-256 of the fingerprint or zeros (32), number of entitlements (1), and for each its length (1) and
UTF-8 slug. Payload v1 is read but never written. Its 74 bytes are version 1, flags, both ids, issued_at and fingerprint
hash. Times are Unix seconds.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import unicodedata
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keysat.core.errors import KeysatError

PREFIX = "LIC1"
SIGNATURE_BYTES = 64
_FINGERPRINT_BOUND, _TRIAL = 0b01, 0b10
_NO_FINGERPRINT = bytes(32)
_PLAIN = re.compile(r"[A-Za-z0-9-]+")
# Characters that quote a key, mark a quoted line, or end a wrapped one (RFC 2045, 6.7).
_AROUND = frozenset("\"'`<>()[]|=*\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb")
# A label before a key, as in "License key: LIC1-...", without its spaces.
_LABEL = re.compile(f".{{1,60}}:(?={PREFIX}-)", re.IGNORECASE)
_HEAD_V1 = struct.Struct(">BB16s16sQ32s")
_HEAD_V2 = struct.Struct(">BB16s16sQQ32sB")


class BadKeyFormat(KeysatError):
    """The text is not a license key."""


class BadSignature(KeysatError):
    """The key was changed, or another signer made it."""


@dataclass(frozen=True)
class Payload:
    """The content of a key. `expires_at` None = perpetual, `fingerprint_hash` None = not bound to a machine."""

    product_id: UUID
    license_id: UUID
    issued_at: int
    expires_at: int | None
    is_trial: bool = False
    fingerprint_hash: bytes | None = None
    entitlements: tuple[str, ...] = ()
    version: int = 2

    def encode(self) -> bytes:
        """Return the payload v2 bytes."""
        flags = (_FINGERPRINT_BOUND if self.fingerprint_hash else 0) | (_TRIAL if self.is_trial else 0)
        head = _HEAD_V2.pack(
            2,
            flags,
            self.product_id.bytes,
            self.license_id.bytes,
            self.issued_at,
            self.expires_at or 0,
            self.fingerprint_hash or _NO_FINGERPRINT,
            len(self.entitlements),
        )
        slugs = [slug.encode() for slug in self.entitlements]
        return head + b"".join(bytes([len(slug)]) + slug for slug in slugs)


def clean(text: str) -> str:
    """Return a pasted key as it was issued: in one line, with plain dashes, without what surrounds it.

    Removes white space, line wraps, quotes, brackets, invisible characters, a label that ends with a colon, and the
    full stop, comma or semicolon of a sentence.

    The signature is checked on the result, so this can't make an invalid key valid.
    """
    if _PLAIN.fullmatch(text):
        return text
    normal = unicodedata.normalize("NFKC", text)
    kept = ("-" if unicodedata.category(char) == "Pd" or char == "\N{MINUS SIGN}" else char for char in normal)
    joined = "".join(char for char in kept if char not in _AROUND and unicodedata.category(char)[0] not in "ZC")
    return _LABEL.sub("", joined, count=1).rstrip(".,;")


def sign(payload: Payload, key: Ed25519PrivateKey) -> str:
    """Return the license key of a payload. The same payload and signing key always give the same text."""
    raw = payload.encode()
    return f"{PREFIX}-{_to_base32(raw)}-{_to_base32(key.sign(raw))}"


def verify(text: str, public_key: Ed25519PublicKey) -> Payload:
    """Read a key and check its signature. The caller must check its expiry.

    Raises:
        BadKeyFormat: not a license key.
        BadSignature: changed, or signed by another key.
    """
    payload, raw, signature = _split(text)
    try:
        public_key.verify(signature, raw)
    except InvalidSignature:
        raise BadSignature("the key's signature is wrong: it was changed, or another signer made it.") from None
    return payload


def parse(text: str) -> Payload:
    """Read a key without checking its signature. Raises `BadKeyFormat`."""
    return _split(text)[0]


def _split(text: str) -> tuple[Payload, bytes, bytes]:
    text = text.strip()
    parts = text.upper().split("-")
    if not text.isascii() or len(parts) != 3 or parts[0] != PREFIX:
        raise BadKeyFormat("a license key looks like LIC1-...-...; copy the whole of it.")
    raw, signature = _from_base32(parts[1]), _from_base32(parts[2])
    if len(signature) != SIGNATURE_BYTES:
        raise BadKeyFormat("the license key is cut off or has extra characters; copy the whole of it.")
    return _decode(raw), raw, signature


def _decode(raw: bytes) -> Payload:
    if raw[:1] == b"\x01" and len(raw) == _HEAD_V1.size:
        _, flags, product, license_id, issued_at, fingerprint = _HEAD_V1.unpack(raw)
        return _payload(1, flags, product, license_id, issued_at, 0, fingerprint, ())
    if raw[:1] == b"\x02" and len(raw) >= _HEAD_V2.size:
        _, flags, product, license_id, issued_at, expires_at, fingerprint, count = _HEAD_V2.unpack_from(raw)
        slugs = _decode_slugs(raw[_HEAD_V2.size :], count)
        return _payload(2, flags, product, license_id, issued_at, expires_at, fingerprint, slugs)
    raise BadKeyFormat("the license key is of an unknown version or cut off.")


def _payload(
    version: int,
    flags: int,
    product: bytes,
    license_id: bytes,
    issued_at: int,
    expires_at: int,
    fingerprint: bytes,
    slugs: tuple[str, ...],
) -> Payload:
    return Payload(
        product_id=UUID(bytes=product),
        license_id=UUID(bytes=license_id),
        issued_at=issued_at,
        expires_at=expires_at or None,
        is_trial=bool(flags & _TRIAL),
        fingerprint_hash=fingerprint if flags & _FINGERPRINT_BOUND else None,
        entitlements=slugs,
        version=version,
    )


def _decode_slugs(tail: bytes, count: int) -> tuple[str, ...]:
    slugs = []
    for _ in range(count):
        size = tail[0] if tail else 0
        if len(tail) < 1 + size:
            raise BadKeyFormat("the license key's entitlements are cut off.")
        try:
            slugs.append(tail[1 : 1 + size].decode())
        except UnicodeDecodeError:
            raise BadKeyFormat("the license key's entitlements can't be read.") from None
        tail = tail[1 + size :]
    if tail:
        raise BadKeyFormat("the license key has extra bytes at its end.")
    return tuple(slugs)


def _to_base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")


def _from_base32(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raw = None
    if raw is None or _to_base32(raw) != text:  # unused bits and padding would give one key several spellings
        raise BadKeyFormat("the license key has characters that can't be in one; copy it again.")
    return raw
