"""The license key's format: the bytes that published clients read, and nothing but refusals for anything else."""

import base64
import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keysat_licensing_client import PublicKey, Verifier, hash_fingerprint

from keysat.licenses.keys import BadKeyFormat, BadSignature, Payload, clean, parse, sign, verify

PRODUCT = UUID("00112233-4455-6677-8899-aabbccddeeff")
LICENSE = UUID("01912d68-783e-7a03-8467-5661c1243ad4")
FINGERPRINT = "machine-1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
PLAIN = Payload(PRODUCT, LICENSE, issued_at=1_767_225_600, expires_at=None)

patiently = settings(deadline=None)


def client():
    """The published client's verifier, with our public key as operators embed it."""
    pem = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Verifier(PublicKey.from_pem(pem.decode()))


def base32(raw):
    return base64.b32encode(raw).decode().rstrip("=")


def unbase32(text):
    return base64.b32decode(text + "=" * (-len(text) % 8))


def key_of(raw, private=PRIVATE, signature=None):
    """A key with these payload bytes, well signed unless another signature is given."""
    return f"LIC1-{base32(raw)}-{base32(private.sign(raw) if signature is None else signature)}"


def parts_of(key):
    """The payload and the signature of a key, as bytes."""
    _, payload, signature = key.split("-")
    return unbase32(payload), unbase32(signature)


# By hand from the table of the wire format, field by field.
VECTOR = (
    bytes([2])
    + bytes([0b11])
    + bytes.fromhex("00112233445566778899aabbccddeeff")
    + bytes.fromhex("01912d68783e7a0384675661c1243ad4")
    + bytes.fromhex("000000006955b900")  # 2026-01-01T00:00:00Z
    + bytes.fromhex("000000006b36ec80")  # 2027-01-01T00:00:00Z
    + hashlib.sha256(FINGERPRINT.encode()).digest()
    + bytes([3])
    + bytes([6])
    + b"export"
    + bytes([5])
    + b"gr\xc3\xbcn"
    + bytes([0])
)
VECTOR_PAYLOAD = Payload(
    product_id=PRODUCT,
    license_id=LICENSE,
    issued_at=int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()),
    expires_at=int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()),
    is_trial=True,
    fingerprint_hash=hashlib.sha256(FINGERPRINT.encode()).digest(),
    entitlements=("export", "grün", ""),
)


@st.composite
def slugs(draw):
    """Entitlements as a policy can have them: up to 255 bytes of any text that UTF-8 can hold."""
    text = draw(st.text(st.characters(codec="utf-8"), max_size=60))
    assume(len(text.encode()) <= 255)
    return text


payloads = st.builds(
    Payload,
    product_id=st.uuids(),
    license_id=st.uuids(),
    issued_at=st.integers(0, 2**40),
    expires_at=st.none() | st.integers(1, 2**40),
    is_trial=st.booleans(),
    fingerprint_hash=st.none() | st.binary(min_size=32, max_size=32),
    entitlements=st.lists(slugs(), max_size=6).map(tuple),
)


def test_payload_is_laid_out_byte_for_byte_as_the_wire_format_says():
    assert VECTOR_PAYLOAD.encode() == VECTOR


def test_perpetual_unbound_payload_has_zeros_where_it_says_nothing():
    raw = PLAIN.encode()
    assert len(raw) == 83
    assert raw[:2] == b"\x02\x00"
    assert raw[42:] == bytes(8 + 32 + 1)


def test_key_is_three_upper_case_base32_parts_without_padding():
    key = sign(VECTOR_PAYLOAD, PRIVATE)
    assert key == f"LIC1-{base32(VECTOR)}-{base32(PRIVATE.sign(VECTOR))}"
    assert key == key.upper()
    assert "=" not in key


def test_same_payload_gives_the_same_key():
    assert sign(VECTOR_PAYLOAD, PRIVATE) == sign(VECTOR_PAYLOAD, PRIVATE)


@patiently
@given(payloads)
def test_published_client_verifies_and_reads_every_key_we_sign(payload):
    read = client().verify(sign(payload, PRIVATE)).payload
    assert (read.version, read.product_id, read.license_id) == (2, payload.product_id, payload.license_id)
    assert (read.issued_at, read.expires_at) == (payload.issued_at, payload.expires_at or 0)
    assert read.is_trial == payload.is_trial
    assert read.is_fingerprint_bound == (payload.fingerprint_hash is not None)
    assert read.fingerprint_hash == (payload.fingerprint_hash or bytes(32))
    assert tuple(read.entitlements) == payload.entitlements


@patiently
@given(payloads)
def test_key_says_what_was_signed(payload):
    assert verify(sign(payload, PRIVATE), PUBLIC) == payload
    assert parse(sign(payload, PRIVATE)) == payload


@pytest.mark.parametrize(
    "entitlements",
    [tuple(f"feature-{number}" for number in range(255)), ("x" * 255,), ("ü" * 127,), ("🔑" * 63,) * 255],
    ids=["255 of them", "255 bytes", "254 bytes of umlauts", "255 of 252 bytes"],
)
def test_largest_entitlements_fit(entitlements):
    key = sign(Payload(PRODUCT, LICENSE, 1, None, entitlements=entitlements), PRIVATE)
    assert verify(key, PUBLIC).entitlements == entitlements
    assert tuple(client().verify(key).payload.entitlements) == entitlements


def test_fingerprint_is_bound_as_the_client_hashes_it():
    assert VECTOR_PAYLOAD.fingerprint_hash.hex() == hash_fingerprint(FINGERPRINT)


@pytest.mark.parametrize("change", [str.lower, str.swapcase, "  {}\n".format, lambda key: key.replace("LIC1", "lic1")])
def test_lower_case_and_space_around_are_accepted(change):
    assert verify(change(sign(VECTOR_PAYLOAD, PRIVATE)), PUBLIC) == VECTOR_PAYLOAD


def vector_v1(flags):
    return bytes([1, flags]) + PRODUCT.bytes + LICENSE.bytes + (1_600_000_000).to_bytes(8, "big") + bytes([7]) * 32


@pytest.mark.parametrize(
    ("flags", "is_trial", "fingerprint"), [(0, False, None), (0b10, True, None), (0b11, True, bytes([7]) * 32)]
)
def test_version_1_is_read(flags, is_trial, fingerprint):
    raw = vector_v1(flags)
    assert len(raw) == 74
    assert verify(key_of(raw), PUBLIC) == Payload(
        PRODUCT, LICENSE, 1_600_000_000, None, is_trial=is_trial, fingerprint_hash=fingerprint, version=1
    )


@pytest.mark.parametrize("raw", [vector_v1(0)[:-1], vector_v1(0) + b"\x00"], ids=["short", "long"])
def test_version_1_of_another_length_is_refused(raw):
    with pytest.raises(BadKeyFormat):
        verify(key_of(raw), PUBLIC)


def test_every_single_flipped_bit_is_noticed():
    payload, signature = parts_of(sign(VECTOR_PAYLOAD, PRIVATE))
    for which, raw in ((0, payload), (1, signature)):
        for bit in range(8 * len(raw)):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            forged = [payload, signature]
            forged[which] = bytes(changed)
            with pytest.raises((BadSignature, BadKeyFormat)):
                verify(key_of(forged[0], signature=forged[1]), PUBLIC)


@pytest.mark.parametrize("bit", [0, 1, 2, 7])
def test_flipped_flag_of_a_well_formed_key_is_a_bad_signature(bit):
    payload, signature = parts_of(sign(PLAIN, PRIVATE))
    changed = bytearray(payload)
    changed[1] ^= 1 << bit
    with pytest.raises(BadSignature, match="changed, or another signer"):
        verify(key_of(bytes(changed), signature=signature), PUBLIC)


def test_foreign_signer_is_refused():
    with pytest.raises(BadSignature):
        verify(sign(PLAIN, Ed25519PrivateKey.generate()), PUBLIC)


def test_signature_of_another_key_of_ours_is_refused():
    payload = Payload(PRODUCT, LICENSE, issued_at=1, expires_at=None)
    with pytest.raises(BadSignature):
        verify(key_of(PLAIN.encode(), signature=PRIVATE.sign(payload.encode())), PUBLIC)


def test_key_cut_off_anywhere_is_refused():
    key = sign(VECTOR_PAYLOAD, PRIVATE)
    for length in range(len(key)):
        with pytest.raises((BadKeyFormat, BadSignature)):
            verify(key[:length], PUBLIC)


def test_key_truncated_payload():
    """A payload that is cut off is refused, even with a valid signature."""
    for length in range(len(VECTOR)):
        with pytest.raises(BadKeyFormat):
            verify(key_of(VECTOR[:length]), PUBLIC)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (VECTOR + b"\x00", "extra bytes"),
        (PLAIN.encode() + b"x", "extra bytes"),
        (PLAIN.encode()[:-1] + b"\x01", "cut off"),
        (PLAIN.encode()[:-1] + b"\x01\x02x", "cut off"),
        (PLAIN.encode()[:-1] + b"\x01\x02\xff\xfe", "can't be read"),
        (b"\x03" + PLAIN.encode()[1:], "unknown version"),
        (b"\x00" + PLAIN.encode()[1:], "unknown version"),
        (b"", "unknown version"),
    ],
    ids=["byte after entitlements", "byte after none", "no slug", "half a slug", "no UTF-8", "3", "0", "empty"],
)
def test_malformed_payload_is_refused_with_its_reason(raw, complaint):
    with pytest.raises(BadKeyFormat, match=complaint):
        verify(key_of(raw), PUBLIC)


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_signature_of_another_length_is_refused(size):
    with pytest.raises(BadKeyFormat, match="cut off or has extra"):
        verify(key_of(PLAIN.encode(), signature=bytes(size)), PUBLIC)


@pytest.mark.parametrize(
    "text",
    ["", "-", "--", "LIC1", "LIC1-", "LIC1--", "LIC1-A-B", "LIC2-AA-AA", "LIC1-AA-AA-AA", "LIC1-!!-??", "LIC1-1890-0"],
)
def test_garbage_is_refused(text):
    with pytest.raises(BadKeyFormat):
        verify(text, PUBLIC)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=300) | st.from_regex(r"\ALIC1-[A-Z2-7=]{0,200}-[A-Z2-7=]{0,120}\Z"))
def test_arbitrary_text_is_refused_and_nothing_worse(text):
    with pytest.raises((BadKeyFormat, BadSignature)):
        verify(text, PUBLIC)


@settings(deadline=None, max_examples=300)
@given(payload=payloads, data=st.data())
def test_mutated_key_is_refused_or_says_what_was_signed(payload, data):
    key = sign(payload, PRIVATE)
    start = data.draw(st.integers(0, len(key)))
    end = data.draw(st.integers(start, min(len(key), start + 12)))
    mutated = key[:start] + data.draw(st.text(max_size=12) | st.text("ABC234-=", max_size=12)) + key[end:]
    try:
        read = verify(mutated, PUBLIC)
    except (BadKeyFormat, BadSignature):
        return
    assert read == payload


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: PLAIN.encode()[:-1] + tail))
def test_key_arbitrary_signed_bytes(raw):
    """Signed arbitrary bytes are read or refused, without another error."""
    try:
        payload = verify(key_of(raw), PUBLIC)
    except BadKeyFormat:
        return
    assert payload.version in {1, 2}
    assert parse(key_of(raw)) == payload


KEY = "LIC1-ABCDEFGH-IJKLMNOP"
PASTED = [
    f"  {KEY}\r\n",
    "LIC1-ABCD\nEFGH-IJKL\r\nMNOP",
    "LIC1-ABCD=\r\nEFGH-IJKLMNOP",
    f"> {KEY}",
    "> LIC1-ABCD\n> EFGH-IJKLMNOP",
    f'"{KEY}"',
    f"<{KEY}>",
    f"`{KEY}`",
    f"\u201c{KEY}\u201d",
    "LIC1-ABCD\u00adEFGH-IJKLMNOP",
    "LIC1-AB\u200bCD\u200dEF\ufeffGH-IJKLMNOP\u2060",
    "\u202aLIC1-ABCDEFGH-IJKLMNOP\u202c",
    "LIC1\u2013ABCDEFGH\u2014IJKLMNOP",
    "LIC1\u2011ABCDEFGH\u2212IJKLMNOP",
    "LIC1-ABCD\u00a0EFGH-IJKLMNOP\u3000",
    "\uff2c\uff29\uff23\uff11-ABCDEFGH-IJKLMNOP",
    f"License key: {KEY}",
    f"**Lizenzschl\u00fcssel:**\n\n    {KEY}\n",
    f"Key\uff1a{KEY}",
    f"Your key is: \u201c{KEY}\u201d.",
    f"({KEY}),",
]


@pytest.mark.parametrize("pasted", PASTED, ids=ascii)
def test_pasted_key_is_cleaned_of_what_mail_programs_put_into_it(pasted):
    assert clean(pasted) == KEY


@pytest.mark.parametrize("text", ["", "LIC1", "your key LIC1-ABCDEFGH-IJKLMNOP", "LIC1-ABCDEFGH-IJKLMNOP!", "LIC1_A_B"])
def test_what_is_no_key_is_not_made_one(text):
    assert clean(text) != KEY
