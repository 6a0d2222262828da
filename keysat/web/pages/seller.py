"""The seller as the pages show it: name, logo, address and color."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keysat.core.settings import load_settings

# What browsers show as an image. The type is sent along, so that nothing else is ever served.
IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Seller:
    """`address` is an e-mail address or empty. `logo` is a file that is there, or None."""

    name: str
    address: str
    logo: Path | None


def read_seller() -> Seller:
    """Return the seller of the settings. Without a name, it is the host of the public URL."""
    settings = load_settings()
    name = settings.seller_name or urlsplit(settings.url).hostname or "Keysat"
    logo = settings.seller_logo
    usable = logo is not None and logo.suffix.lower() in IMAGES and logo.is_file()
    return Seller(name, settings.support_address, logo if usable else None)
