"""`keysat license verify` and `inspect`: read keys offline, without the database."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from keysat.cli.output import AsJson, Row, say, show_record
from keysat.core.errors import InvalidInput
from keysat.core.settings import load_settings
from keysat.licenses.keys import Payload, clean, parse, verify
from keysat.licenses.signer import load_signer


def verify_(
    key: Annotated[str, typer.Argument(help="The license key, LIC1-...")],
    public_key: Annotated[
        str | None, typer.Option(help="A PEM file, or the base64 inside one; default: this installation's own key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a key's signature offline, without the database. Exit 1 if it is wrong."""
    trusted = (
        load_signer(load_settings().signing_key_file).public_key if public_key is None else _read_public_key(public_key)
    )
    payload = verify(clean(key), trusted)
    show_record(_describe(payload), as_json)
    say("the signature is good")


def inspect(key: Annotated[str, typer.Argument(help="The license key, LIC1-...")], as_json: AsJson = False) -> None:
    """Show the contents of a key, without checking its signature."""
    show_record(_describe(parse(clean(key))), as_json)


def _describe(payload: Payload) -> Row:
    return {
        "license_id": str(payload.license_id),
        "product_id": str(payload.product_id),
        "version": payload.version,
        "issued": _time(payload.issued_at),
        "expires": None if payload.expires_at is None else _time(payload.expires_at),
        "trial": payload.is_trial,
        "fingerprint_sha256": None if payload.fingerprint_hash is None else payload.fingerprint_hash.hex(),
        "entitlements": list(payload.entitlements),
    }


def _time(seconds: int) -> datetime | str:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _read_public_key(text: str) -> Ed25519PublicKey:
    try:
        path = Path(text)
        key = load_pem_public_key(path.read_bytes()) if path.exists() else load_der_public_key(base64.b64decode(text))
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput(f"{text} is no Ed25519 public key; `keysat key show` prints ours.")
    return key
