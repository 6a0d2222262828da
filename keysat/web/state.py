"""What a web process keeps for its life: the signing key."""

from __future__ import annotations

from functools import cache

from keysat.db import reading
from keysat.licenses.signer import Signer, check_signer
from keysat.settings import load_settings


@cache
def signer() -> Signer:
    """The signing key, once it was found to be the one that issued the licenses.

    Raises:
        SettingsError: it is missing or another one.
        DatabaseUnavailable: the licenses can't be asked; a later call tries again.
    """
    with reading() as session:
        return check_signer(session, load_settings().signing_key_file)
