"""The trusted certificate authorities: public ones, those of the environment, and the operator's own."""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path

import certifi

from keysat.core.errors import InvalidInput, SettingsError

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@cache
def tls_context(ca_file: Path | None = None, ca_pem: str | None = None) -> ssl.SSLContext:
    """Return a client context, which always verifies. It trusts the authorities of the system and of certifi.

    It also trusts those of SSL_CERT_FILE, REQUESTS_CA_BUNDLE, `ca_file` and `ca_pem`.

    Raises:
        SettingsError: a file can't be read or contains no certificate.
        InvalidInput: `ca_pem` contains no certificate.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    for source in [*([Path(bundle)] if bundle else []), *([ca_file] if ca_file else [])]:
        try:
            if source.is_dir():
                context.load_verify_locations(capath=source)
            else:
                context.load_verify_locations(cafile=source)
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(f"the certificate authorities in {source} can't be read ({error}).") from None
    if ca_pem is not None:
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, ValueError):
            raise InvalidInput("the certificate authorities are no PEM certificates.") from None
    return context


def check_pem(text: str) -> str:
    """Return the text if it contains certificates in PEM and no private key.

    Raises:
        InvalidInput: it doesn't.
    """
    if "PRIVATE KEY" in text:
        raise InvalidInput("the file holds a private key; give the certificates of the authority alone.")
    if _CERTIFICATE not in text or not text.isascii():
        raise InvalidInput(f"the certificate authorities must be PEM, beginning with {_CERTIFICATE}.")
    tls_context(None, text)
    return text


def problem_of(error: BaseException) -> str | None:
    """Return what is wrong with a server's certificate, in a few words, if that made the call fail."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or str(cause)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            waiting += [*cause.args, cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
    return None
