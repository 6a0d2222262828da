"""The status list: what changed since keys were issued, in one signed file for programs without a network. Pure.

A key lasts as long as it says, so an offline program doesn't know that its license was withdrawn or extended. The list
names each license of which a key says something else than the license, by its whole id. So no other license is ever
taken for one that is listed.

The signed content is a line of JSON, the head, and then the entries, compressed with zlib. The head has `version`, 1,
`epoch` and `sequence`, which order the lists, `issued_at` and `expires_at`, and the number of `entries`. An entry has
33 bytes, big-endian: the license's id (16), flags (1), the time of its oldest key that is valid (8), and its end (8, 0
= perpetual). Times are Unix seconds. Entries are sorted and stored by columns: the first bytes of all, then the second
ones, and so on. Columns that are alike, such as the beginnings of ids and times that don't count, cost next to nothing.
"""

from __future__ import annotations

import json
import zlib
from enum import IntFlag

VERSION = 1
ENTRY_BYTES = 33


class Flag(IntFlag):
    """What an entry says of its license. The two times count only with their flag, and are 0 otherwise.

    With `ROTATED`, keys issued before the first one are refused. With `END`, the second one replaces the key's end.
    """

    SUSPENDED = 1
    REVOKED = 2
    ROTATED = 4
    END = 8


def pack(entries: bytes) -> bytes:
    """Return entries, one after the other, by columns and compressed. The same entries always give the same bytes."""
    return zlib.compress(b"".join(entries[column::ENTRY_BYTES] for column in range(ENTRY_BYTES)))


def content(entries: bytes, *, epoch: int, sequence: int, issued_at: int, expires_at: int) -> bytes:
    """Return what is signed: the head, and the packed entries."""
    head = {
        "version": VERSION,
        "epoch": epoch,
        "sequence": sequence,
        "issued_at": issued_at,
        "expires_at": expires_at,
        "entries": len(entries) // ENTRY_BYTES,
    }
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + pack(entries)
