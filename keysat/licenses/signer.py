"""The signing key: an Ed25519 key in a file that only its owner can read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.db import Database
from keysat.core.errors import KeysatError, SettingsError
from keysat.core.hints import Hint
from keysat.core.secrets import write_private
from keysat.core.settings import load_settings
from keysat.licenses.keys import Payload, sign
from keysat.licenses.signed import Prefix, sign_text
from keysat.models import License


class SigningKeyMissing(SettingsError):
    """A required signing key is missing."""

    def __init__(self, path: Path, *, licensed: bool) -> None:
        self.licensed = licensed
        why = "; licenses were issued with it, and a new key would not verify them" if licensed else ""
        hint = Hint.RESTORE_SIGNING_KEY if licensed else Hint.CREATE_SIGNING_KEY
        super().__init__(f"the signing key {path} is missing{why}.", hint)


class SigningKeyMismatch(SettingsError):
    """The signing key isn't the one that signed the issued licenses."""

    def __init__(self, path: Path | str, found: str, wanted: str) -> None:
        super().__init__(
            f"the signing key {path} is {found}, but the issued licenses were signed with {wanted}.",
            Hint.RESTORE_SIGNING_KEY,
        )


class SigningKeyExists(KeysatError):
    """A new key would replace an existing one."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"there is a signing key at {path} already; it is never replaced.")


@dataclass(frozen=True)
class Signer:
    """The private key, ready to sign."""

    private_key: Ed25519PrivateKey

    @cached_property
    def public_key(self) -> Ed25519PublicKey:
        """The key that buyers' programs use to verify licenses."""
        return self.private_key.public_key()

    @cached_property
    def key_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the raw public key: which key signed a license."""
        raw = self.public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()[:16]

    @property
    def public_key_pem(self) -> str:
        """The public key as PEM (SubjectPublicKeyInfo), as clients embed it."""
        return self.public_key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    @cached_property
    def _poll_key(self) -> bytes:
        raw = self.private_key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        return HKDF(hashes.SHA256(), 32, salt=None, info=b"keysat purchase token").derive(raw)

    def purchase_token(self, invoice_id: UUID) -> str:
        """Return the buyer's token to poll a purchase: the invoice's id and a 256-bit secret, `<id>.<base64url>`.

        The secret is derived from the signing key, so it isn't stored, and is always the same for one purchase.
        """
        secret = hmac.digest(self._poll_key, invoice_id.bytes, "sha256")
        return f"{invoice_id}.{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"

    def sign_text(self, prefix: Prefix, content: bytes) -> str:
        """Return the signed text of a content, as `keysat.licenses.signed` describes it."""
        return sign_text(prefix, content, self.private_key)

    def key_for(self, row: License) -> str:
        """Return the license key of a row. The same row always gives the same key, byte for byte.

        Raises:
            SigningKeyMismatch: another key signed this license.
        """
        if row.signer != self.key_id:
            raise SigningKeyMismatch("in use", self.key_id, row.signer)
        return self.sign(
            Payload(
                product_id=row.product_id,
                license_id=row.id,
                issued_at=int(row.key_issued_at.timestamp()),
                expires_at=None if row.key_ends_at is None else int(row.key_ends_at.timestamp()),
                is_trial=row.is_trial,
                fingerprint_hash=row.fingerprint_hash,
                entitlements=tuple(row.entitlements),
            )
        )

    def sign(self, payload: Payload) -> str:
        """Return the license key of a payload."""
        return sign(payload, self.private_key)


def create_signing_key(path: Path) -> Signer:
    """Create a key file, mode 0600.

    Raises:
        SigningKeyExists: the file exists.
    """
    private_key = Ed25519PrivateKey.generate()
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        write_private(path, pem)
    except FileExistsError:
        raise SigningKeyExists(path) from None
    return Signer(private_key)


def load_signer(path: Path) -> Signer:
    """Read the key file.

    Raises:
        SigningKeyMissing: the file doesn't exist.
        SettingsError: others can read it, or it isn't an Ed25519 key.
    """
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except FileNotFoundError:
        raise SigningKeyMissing(path, licensed=False) from None
    except OSError as error:
        raise SettingsError(f"the signing key {path} can't be read ({error.strerror}); correct its owner.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError(f"the signing key {path} can be read by others; run `chmod 600 {path}`.")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path} holds no Ed25519 private key in PEM; restore it from your backup.")
    return Signer(key)


def check_signer(session: Session, path: Path) -> Signer:
    """Read the key file and check that its key signed the issued licenses.

    Raises:
        SigningKeyMissing: the file doesn't exist.
        SigningKeyMismatch: it contains another key.
        SettingsError: as `load_signer`.
    """
    used = session.scalar(select(License.signer).order_by(License.id.desc()).limit(1))
    if used is not None and not path.exists():
        raise SigningKeyMissing(path, licensed=True)
    signer = load_signer(path)
    if used is not None and used != signer.key_id:
        raise SigningKeyMismatch(path, signer.key_id, used)
    return signer


def installed_signer(database: Database) -> Signer:
    """Return the key of the settings, after checking that it signed the issued licenses. Raises as `check_signer`."""
    with database.reading() as session:
        return check_signer(session, load_settings().signing_key_file)
