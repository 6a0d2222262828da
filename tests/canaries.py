"""Secrets that must turn up nowhere but where they belong: those that the tests use, and those that they make."""

import base64
import re
from pathlib import Path

from keysat.core.settings import Settings

# What the tests' accounts, stores and endpoints are given, by what it is.
GIVEN = {
    "a provider's API key": "key-of-test-store",
    "a provider's webhook secret": "webhook-secret-of-the-test-store",
    "a buyer's preimage": "9f7d0c1f5e2a49384756a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6",
    "the database's password": "canary-of-the-database",
    "the mail server's password": "canary-of-the-mail-server",
}
# License keys, API keys of the admin API, and signing secrets of endpoints have a shape.
SHAPES = {
    "a license key": re.compile(r"LIC1-[A-Z2-7]{20,}-[A-Z2-7]{20,}"),
    "an admin API key": re.compile(r"ksk_[A-Za-z0-9_-]{20,}"),
    "a purchase's token": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[A-Za-z0-9_-]{43}"),
    "an endpoint's secret": re.compile(r"whsec_[A-Za-z0-9+/=]{20,}"),
}


def kept_in_files(settings: Settings) -> dict[str, str]:
    """The secrets in the key files of an installation."""
    pem = settings.signing_key_file.read_text().strip().splitlines()
    return {
        "the signing key": "".join(pem[1:-1]),
        "the secrets key": settings.secrets_key_file.read_text().strip(),
    }


def forms(secret: str) -> set[str]:
    """A secret as it is, in base64 and in hexadecimal."""
    raw = secret.encode()
    return {secret, base64.b64encode(raw).decode().rstrip("=")[:-1], raw.hex()}


def leaks(text: str, secrets: dict[str, str]) -> set[str]:
    """What of the secrets a text gives away."""
    found = {what for what, secret in secrets.items() if any(form in text for form in forms(secret))}
    return found | {what for what, shape in SHAPES.items() if shape.search(text)}


def leaks_in_logs(folder: Path, secrets: dict[str, str]) -> dict[str, set[str]]:
    """What the logs of all processes give away, by file."""
    found = {str(log): leaks(log.read_text(errors="replace"), secrets) for log in sorted(folder.rglob("*.log"))}
    return {log: what for log, what in found.items() if what}
