"""The status list: its entries, its size, and what a program makes of it that has no network."""

import base64
import dataclasses
import json
import random
import struct
import zlib
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keysat_licensing_client import PublicKey, Verifier

from keysat.licenses.keys import Payload, sign
from keysat.licenses.signed import Prefix
from keysat.licenses.signer import Signer
from keysat.licenses.status_list import Flag, content, pack
from tests.examples import FOLDER, load_example

EXAMPLE = load_example("check_status_list")
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NOW = 1_795_000_000
DAY = 86_400
YEARS = 3 * 365 * DAY
KEY = Payload(UUID(int=1), UUID(int=2), issued_at=NOW - 100 * DAY, expires_at=NOW + DAY, entitlements=("export",))
NEVER = (0, 0)


def entry(license_id, flags, valid_from=0, end=0):
    """An entry as docs/offline.md describes it."""
    return struct.pack(">16sBQQ", license_id.bytes, flags, valid_from, end)


def key_of(**facts):
    return sign(dataclasses.replace(KEY, **facts), SIGNER.private_key)


def make_list(*entries, epoch=0, sequence=5, issued_at=NOW, expires_at=NOW + 7 * DAY, signer=SIGNER):
    head = {"epoch": epoch, "sequence": sequence, "issued_at": issued_at, "expires_at": expires_at}
    return signer.sign_text(Prefix.STATUS_LIST, content(b"".join(entries), **head))


def read_by_example(key):
    return EXAMPLE.read_key(key, SIGNER.public_key)


def read_by_client(key):
    """As a program that has the published client."""
    verified = Verifier(PublicKey.from_pem(SIGNER.public_key_pem)).verify(key)
    return verified.license_id.bytes, verified.issued_at, verified.expires_at


def check(text, key=None, seen=NEVER, now=NOW, read=read_by_example):
    return EXAMPLE.refusal(read(key or key_of()), text, SIGNER.public_key, seen, now)


def resigned(text, **changed):
    return json.dumps({**json.loads(text), **changed})


@pytest.mark.parametrize("read", [read_by_example, read_by_client])
@pytest.mark.parametrize(
    ("flags", "times", "key", "refusal"),
    [
        (None, (), {}, None),
        (None, (), {"expires_at": NOW}, "expired"),
        (None, (), {"expires_at": None}, None),
        (Flag.SUSPENDED, (), {}, "withdrawn"),
        (Flag.REVOKED, (), {"expires_at": None}, "withdrawn"),
        (Flag.END, (0, NOW + DAY), {"expires_at": NOW - DAY}, None),
        (Flag.END, (0, 0), {"expires_at": NOW - DAY}, None),
        (Flag.END, (0, NOW), {"expires_at": None}, "expired"),
        (Flag.ROTATED, (NOW - DAY, 0), {}, "withdrawn"),
        (Flag.ROTATED, (NOW - DAY, 0), {"issued_at": NOW - DAY}, None),
        (Flag.ROTATED | Flag.END, (NOW - DAY, NOW - 1), {"issued_at": NOW - DAY}, "expired"),
    ],
    ids=str,
)
def test_program_without_a_network_follows_the_list(flags, times, key, refusal, read):
    entries = [] if flags is None else [entry(KEY.license_id, flags, *times), entry(UUID(int=9), Flag.REVOKED)]
    assert check(make_list(*entries), key_of(**key), read=read) == (refusal, (0, 5))


def test_changed_key_is_refused():
    with pytest.raises(InvalidSignature):
        check(make_list(), key_of().replace("A", "B", 1))


@pytest.mark.parametrize("part", ["enc", "sig"])
def test_changed_list_is_refused(part):
    text = make_list(entry(KEY.license_id, Flag.REVOKED))
    other = json.loads(make_list())
    with pytest.raises(InvalidSignature):
        check(resigned(text, **{part: other[part]}))


def test_list_of_another_signer_is_refused():
    stranger = Signer(Ed25519PrivateKey.generate())
    with pytest.raises(InvalidSignature):
        check(make_list(signer=stranger))


def test_signature_of_another_kind_of_text_is_refused():
    """The prefix is signed, so no text that we sign for another purpose passes for a list."""
    enc = json.loads(make_list())["enc"]
    for prefix in (b"", b"license/", b"status-list"):
        signature = base64.b64encode(SIGNER.private_key.sign(prefix + enc.encode())).decode()
        with pytest.raises(InvalidSignature):
            check(resigned(make_list(), sig=signature))


@pytest.mark.parametrize(
    ("text", "seen", "mark"),
    [
        (make_list(sequence=4), (0, 5), (0, 5)),
        (make_list(epoch=1, sequence=9), (2, 1), (2, 1)),
        (make_list(expires_at=NOW), NEVER, (0, 5)),
    ],
    ids=["older", "before a restore", "over"],
)
def test_older_list_is_refused(text, seen, mark):
    assert check(text, seen=seen) == ("get a newer list", mark)


@pytest.mark.parametrize("seen", [(0, 5), (0, 4), NEVER])
def test_list_that_was_seen_or_is_newer_is_taken(seen):
    assert check(make_list(), seen=seen) == (None, (0, 5))


def test_list_of_a_version_to_come_is_refused():
    signed = b'{"version":2,"epoch":0,"sequence":9,"issued_at":0,"expires_at":9999999999,"entries":0}\nanything'
    with pytest.raises(ValueError, match="newer program"):
        check(SIGNER.sign_text(Prefix.STATUS_LIST, signed))


def test_list_after_a_restore_is_newer_though_it_counts_again():
    assert check(make_list(epoch=1, sequence=2), seen=(0, 900)) == (None, (1, 2))


def test_clock_that_was_set_back_gains_nothing():
    """It can't be earlier than the list."""
    assert check(make_list(), key_of(expires_at=NOW - 1), now=NOW - YEARS) == ("expired", (0, 5))


def test_example_is_short_and_needs_one_package():
    lines = [line for line in (FOLDER / "check_status_list.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"base64", "json", "struct", "time", "zlib"}  # the public key is of `cryptography`


def license_ids(count, seed):
    """The ids of licenses that were sold one by one within three years, as `uuid7` makes them."""
    chance, ids = random.Random(seed), set()
    while len(ids) < count:
        moment = (NOW - chance.randrange(YEARS)) * 1_000 + chance.randrange(1_000)
        number = moment << 80 | 0x7 << 76 | chance.getrandbits(12) << 64 | 0b10 << 62 | chance.getrandbits(62)
        ids.add(UUID(int=number))
    return sorted(ids)


# Bytes of a list, as docs/offline.md has them: withdrawn licenses, and as many that were extended.
SIZES = {1_000: (19_600, 23_400), 10_000: (181_000, 217_200)}


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_list_is_small(count):
    ids = license_ids(count, seed=1)
    chance = random.Random(2)
    withdrawn = make_list(*(entry(one, chance.choice([Flag.SUSPENDED, Flag.REVOKED])) for one in ids))
    extended = make_list(*(entry(one, Flag.END, 0, NOW + chance.randrange(30 * DAY)) for one in ids))
    assert len(withdrawn) <= SIZES[count][0]
    assert len(extended) <= SIZES[count][1]


def test_license_that_is_not_listed_is_never_taken_for_one():
    """Entries have whole ids. Here others differ from listed ones in one bit each."""
    listed = license_ids(200, seed=3)
    _, entries = EXAMPLE.read_list(make_list(*(entry(one, Flag.REVOKED) for one in listed)), SIGNER.public_key)
    assert entries.keys() == {one.bytes for one in listed}
    for one in listed:
        for bit in range(128):
            near = UUID(int=one.int ^ 1 << bit)
            assert near in listed or near.bytes not in entries


def test_entries_are_stored_by_columns():
    rows = [entry(KEY.license_id, Flag.ROTATED | Flag.END, 7, 8), entry(KEY.product_id, Flag.REVOKED)]
    columns = bytes(byte for pair in zip(*rows, strict=True) for byte in pair)
    assert zlib.decompress(pack(b"".join(rows))) == columns
