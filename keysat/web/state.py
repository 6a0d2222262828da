"""State of a web process: the signing key, and a cache of license keys verified as genuine."""

from __future__ import annotations

from functools import cache, lru_cache

from keysat.core.db import DATABASE
from keysat.core.logs import get_logger
from keysat.licenses.keys import Payload, clean, verify
from keysat.licenses.signer import Signer, SigningKeyMismatch, installed_signer
from keysat.models import License

log = get_logger(__name__)


@cache
def signer() -> Signer:
    """Return the signing key after checking that it issued the licenses.

    Raises:
        SettingsError: The key is missing, or another one issued the licenses.
        DatabaseUnavailable: The licenses can't be checked. A later call tries again.
    """
    return installed_signer(DATABASE)


def signer_id() -> str:
    """Return the id of the signing key. Raises as `signer`."""
    return signer().key_id


def key_of(row: License) -> str | None:
    """Return a license's key, or None if another signing key issued it. Raises as `signer`."""
    installed = signer()  # out here, as it also raises the error below if the key itself is the wrong one
    try:
        return installed.key_for(row)
    except SigningKeyMismatch as error:
        log.warning("key not shown", license_id=str(row.id), reason=str(error))
        return None


def read_key(text: str) -> Payload:
    """Return the payload of a license key with a valid signature. Recent genuine keys are cached.

    Raises:
        BadKeyFormat: The text is no license key.
        BadSignature: The key was changed, or signed by another key.
    """
    return _genuine(clean(text))


# Checking a signature costs a third of reading the license, and its outcome never changes.
@lru_cache(maxsize=10_000)
def _genuine(key: str) -> Payload:
    return verify(key, signer().public_key)
