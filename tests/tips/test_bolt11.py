"""BOLT11 as its specification has it: every valid example is read, and every invalid one refused in a sentence."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from bolt11 import Bolt11, MilliSatoshi, Tag, TagChar, Tags, encode

from keysat.tips.bolt11 import NETWORKS, Bolt11Refused, check, decode
from tests.tips.vectors import INVALID, VALID

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HASH = "11" * 32
SEED = 20_261_126
CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def invoice(*tags, msat=5_000, network="bc", secret=True):
    given = [Tag(TagChar.payment_hash, HASH), *tags]
    given += [Tag(TagChar.payment_secret, "22" * 32)] if secret else []
    return encode(Bolt11(network, int(NOW.timestamp()), Tags(given), MilliSatoshi(msat)), "33" * 32)


def checked(text, description_hash="44" * 32):
    return check(text, amount_msat=5_000, network="mainnet", description_hash=description_hash, now=NOW)


@pytest.mark.parametrize("name", VALID)
def test_valid_example_is_read(name):
    text, (network, amount, description_hash) = VALID[name]
    decoded = decode(text)
    assert (decoded.network, decoded.amount_msat) == (NETWORKS[network], amount)
    assert decoded.description_hash == description_hash
    assert len(decoded.payment_hash) == 64


@pytest.mark.parametrize("name", INVALID)
def test_invalid_example_is_refused(name):
    with pytest.raises(Bolt11Refused, match=r"\.$"):
        decode(INVALID[name])


def test_plain_description_is_accepted():
    assert checked(invoice(Tag(TagChar.description, "a tip"))).payment_hash == HASH


def test_description_hash_must_be_the_one_of_the_metadata():
    hashed = invoice(Tag(TagChar.description_hash, "44" * 32))
    assert checked(hashed).payable_until == NOW + timedelta(hours=1)
    with pytest.raises(Bolt11Refused, match="description hash differs"):
        checked(hashed, "55" * 32)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("lnbc05n", "prefix or amount"),
        ("lnbc50", "Bech32"),
        ("lnbc-5n", "prefix or amount"),
        ("lnbc\u06655n", "prefix or amount"),
        ("lnxx5n", "prefix or amount"),
        ("lnbc" + "9" * 30, "prefix or amount"),
    ],
)
def test_odd_prefix_is_refused(prefix, said):
    rest = invoice(Tag(TagChar.description, "a tip")).rpartition("1")[2]
    with pytest.raises(Bolt11Refused, match=said):
        decode(f"{prefix}1{rest}")


def test_garbage_never_raises_anything_else():
    chances = random.Random(SEED)
    good = [text.lower() for text, _ in VALID.values()]
    for _ in range(400):
        text = list(chances.choice(good))
        for _ in range(chances.randint(1, 4)):
            at = chances.randrange(len(text))
            text[at : at + chances.randint(0, 9)] = chances.choice([chances.choice(CHARACTERS), "", "1", "\x00", "é"])
        if "".join(text) not in good:
            with pytest.raises(Bolt11Refused):
                decode("".join(text))
