"""Check a license key offline, with the status list. Needs the package `cryptography` alone. Copy it into your program.

Call `refusal(read_key(key, public_key), text, public_key, seen)`. Your program contains the seller's public key, which
`load_pem_public_key` reads. `seen` is the mark of the newest list so far, at first `(0, 0)`. Store the one it returns.
"""

import base64
import json
import struct
import time
import zlib

SUSPENDED, REVOKED, ROTATED, END = 1, 2, 4, 8


def read_key(key, public_key):
    """Return the license's id, when the key was issued, and when it ends (0 = never). Raises if it is not genuine."""
    payload, signature = (base64.b32decode(part + "=" * (-len(part) % 8)) for part in key.split("-")[1:])
    public_key.verify(signature, payload)
    if payload[0] != 2:
        raise ValueError("the key is of another version")
    return struct.unpack_from(">16sQQ", payload, 18)


def read_list(text, public_key):
    """Return the head of a status list, and its entries by license. Raises if it is not genuine."""
    signed = json.loads(text)
    public_key.verify(base64.b64decode(signed["sig"]), b"status-list/" + signed["enc"].encode())
    head, packed = base64.b64decode(signed["enc"]).split(b"\n", 1)
    head = json.loads(head)
    if head["version"] != 1:
        raise ValueError("the list needs a newer program")
    columns = zlib.decompress(packed)
    rows = [columns[row :: head["entries"]] for row in range(head["entries"])]
    return head, {row[:16]: struct.unpack_from(">BQQ", row, 16) for row in rows}


def refusal(key, text, public_key, seen, now=None):
    """Return why a key, as `read_key` returns it, isn't valid now, or None, and the mark of the list."""
    license_id, issued_at, end = key
    head, entries = read_list(text, public_key)
    now, mark = max(now or time.time(), head["issued_at"]), (head["epoch"], head["sequence"])
    if mark < seen or now >= head["expires_at"]:
        return "get a newer list", max(mark, seen)
    flags, valid_from, listed_end = entries.get(license_id, (0, 0, 0))
    end = listed_end if flags & END else end
    if flags & (SUSPENDED | REVOKED) or (flags & ROTATED and issued_at < valid_from):
        return "withdrawn", mark
    return ("expired" if end and now >= end else None), mark
