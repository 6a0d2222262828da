"""State of a web process: the signing key, and a cache of license keys verified as genuine."""

from __future__ import annotations

from functools import cache, lru_cache

from keysat.core.db import DATABASE
from keysat.licenses.keys import Payload, clean, verify
from keysat.licenses.signer import Signer, installed_signer


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
