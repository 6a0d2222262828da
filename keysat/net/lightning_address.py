"""Lightning Addresses (LUD-16): `user@domain`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keysat.core.errors import InvalidInput

_USER = re.compile(r"(?=.{1,64}\Z)[a-z0-9._-]+(?:\+[a-z0-9._-]+)*")  # a +tag names the purpose
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?!\d+$){_LABEL}")
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1):\d{1,5}")


@dataclass(frozen=True)
class LightningAddress:
    """The recipient of a tip. A `local` address is for use with the sandbox."""

    user: str
    host: str
    local: bool = False

    @property
    def url(self) -> str:
        """The URL where its owner publishes how to pay."""
        return f"{'http' if self.local else 'https'}://{self.host}/.well-known/lnurlp/{self.user}"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"


def parse_address(text: str, *, allow_local: bool = False) -> LightningAddress:
    """Read a Lightning Address.

    Raises:
        InvalidInput: it isn't a valid address, or its host isn't a public name.
    """
    user, _, host = text.strip().lower().partition("@")
    local = allow_local and _LOCAL.fullmatch(host) is not None
    public = _HOST.fullmatch(host) is not None and len(host) <= 253 and not host.endswith((".localhost", ".local"))
    if not _USER.fullmatch(user) or not (public or local):
        raise InvalidInput(f"{text[:100]!r} is no Lightning Address; it must look like dev@example.com.")
    return LightningAddress(user, host, local)
