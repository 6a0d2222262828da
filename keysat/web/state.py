"""What a web process keeps for its life: the signing key, and which keys it found to be genuine."""

from __future__ import annotations

from functools import cache, lru_cache

from keysat.core.db import reading
from keysat.core.settings import load_settings
from keysat.licenses.keys import Payload, clean, verify
from keysat.licenses.signer import Signer, check_signer


@cache
def signer() -> Signer:
    """The signing key, once it was found to be the one that issued the licenses.

    Raises:
        SettingsError: it is missing or another one.
        DatabaseUnavailable: the licenses can't be asked; a later call tries again.
    """
    with reading() as session:
        return check_signer(session, load_settings().signing_key_file)


def read_key(text: str) -> Payload:
    """What a license key says, if its signature is ours. The genuine keys seen last are remembered as such.

    Raises:
        BadKeyFormat: it is no license key.
        BadSignature: it was changed, or signed by another key.
    """
    return _genuine(clean(text))


# To check a signature costs a third of what it costs to read the license, and its outcome never changes.
@lru_cache(maxsize=10_000)
def _genuine(key: str) -> Payload:
    return verify(key, signer().public_key)
