"""Check a license file or a machine file offline. Needs the package `cryptography` alone. Copy it into your program.

Call `read_file(text, pem, kind)` with the public key of the seller, which your program contains, and "license" or
"machine". It returns the content of the file, or raises `Refused` with the reason.
"""

import base64
import hashlib
import json
from datetime import datetime, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Refused(Exception):
    """The file isn't genuine, not for this machine, or not valid now."""


def read_file(text, pem, kind, fingerprint=None, now=None):
    """Return the content of a genuine file that is valid now. A machine file needs the machine's fingerprint."""
    lines = text.strip().splitlines()
    if [*lines[:1], *lines[-1:]] != [f"-----{word} {kind.upper()} FILE-----" for word in ("BEGIN", "END")]:
        raise Refused(f"this is no {kind} file")
    try:
        signed = json.loads(base64.b64decode("".join(lines[1:-1])))
        signature, message = base64.b64decode(signed["sig"]), f"{kind}/{signed['enc']}".encode()
        if signed["alg"] != "base64+ed25519":
            raise Refused("the file needs a newer program")
        load_pem_public_key(pem.encode()).verify(signature, message)
    except (ValueError, KeyError, TypeError, InvalidSignature):
        raise Refused("the file was changed, or is another seller's") from None
    content = json.loads(base64.b64decode(signed["enc"]))
    issued, expiry = (datetime.fromisoformat(content["meta"][name][:-1] + "+00:00") for name in ("issued", "expiry"))
    if max(now or datetime.now(timezone.utc), issued) >= expiry:
        raise Refused("the file is over: get a new one")
    if kind == "machine":
        wanted = hashlib.sha256(fingerprint.encode()).hexdigest()
        if content["data"]["attributes"]["fingerprintSha256"] != wanted:
            raise Refused("the file is for another machine")
    return content
