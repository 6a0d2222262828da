"""The signing key: in a file that is its owner's alone, never replaced, and the one that issued the licenses."""

import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keysat_licensing_client import PublicKey, Verifier
from sqlalchemy import func

from keysat.catalog.terms import Terms
from keysat.core.db import reading
from keysat.core.errors import SettingsError
from keysat.core.hints import Hint
from keysat.licenses.keys import verify
from keysat.licenses.signer import (
    SigningKeyExists,
    SigningKeyMismatch,
    SigningKeyMissing,
    check_signer,
    create_signing_key,
    load_signer,
)
from tests.builders import issue_now, load_licenses, make_account, make_catalog, make_invoice


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "signing.key"


@pytest.fixture
def issued_license(empty_database, fake, signer):
    """A license, issued with the run's signing key."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    return load_licenses(invoice.id)[0]


def check(path):
    with reading() as session:
        return check_signer(session, path)


def private_pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )


def test_new_key_is_readable_by_its_owner_only(path):
    create_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_key_is_the_same_after_loading(path):
    created = create_signing_key(path)
    assert load_signer(path).key_id == created.key_id
    assert load_signer(path).public_key_pem == created.public_key_pem


def test_each_new_key_is_another(tmp_path):
    first, second = (create_signing_key(tmp_path / name) for name in "ab")
    assert first.key_id != second.key_id


def test_key_is_never_replaced(path):
    create_signing_key(path)
    before = path.read_bytes()
    with pytest.raises(SigningKeyExists, match="never replaced"):
        create_signing_key(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o601])
def test_key_that_others_can_read_is_refused(path, mode):
    create_signing_key(path)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=rf"run `chmod 600 {path}`"):
        load_signer(path)


def test_key_that_only_its_owner_can_read_is_fine_even_read_only(path):
    create_signing_key(path)
    path.chmod(0o400)
    assert load_signer(path)


def test_missing_key_is_refused_with_the_hint_to_create_one(path):
    with pytest.raises(SigningKeyMissing, match="is missing") as refusal:
        load_signer(path)
    assert refusal.value.hint is Hint.CREATE_SIGNING_KEY
    assert str(path) in str(refusal.value)
    assert refusal.value.licensed is False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        private_pem(Ed25519PrivateKey.generate())[:-40],
        private_pem(Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"password")),
        lambda: private_pem(rsa.generate_private_key(65_537, 2048)),
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        bytes(range(256)),
    ],
    ids=["empty", "garbage", "empty PEM", "cut off", "encrypted", "RSA", "public", "binary"],
)
def test_file_without_an_ed25519_key_is_refused(tmp_path, content):
    path = tmp_path / "signing.key"
    path.touch(mode=0o600)
    path.write_bytes(content() if callable(content) else content)
    with pytest.raises(SettingsError, match="holds no Ed25519 private key"):
        load_signer(path)


def test_folder_in_place_of_the_key_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="can't be read"):
        load_signer(tmp_path)


def test_key_that_issued_the_licenses_is_accepted(issued_license, settings, signer):
    assert check(settings.signing_key_file).key_id == signer.key_id == issued_license.signer


def test_signer_missing_with_licenses(issued_license, path):
    """A missing key is an error without the offer of a new key."""
    with pytest.raises(SigningKeyMissing, match="licenses were issued with it") as refusal:
        check(path)
    assert refusal.value.licensed is True
    assert refusal.value.hint is Hint.RESTORE_SIGNING_KEY


def test_another_key_than_issued_the_licenses_is_refused(issued_license, path):
    second = create_signing_key(path)
    with pytest.raises(SigningKeyMismatch, match=issued_license.signer) as refusal:
        check(path)
    assert second.key_id in str(refusal.value)


def test_without_licenses_any_key_will_do(empty_database, path):
    assert check_after_creating(path)
    path.unlink()
    with pytest.raises(SigningKeyMissing, match="is missing") as refusal:
        check(path)
    assert refusal.value.hint is Hint.CREATE_SIGNING_KEY


def check_after_creating(path):
    return create_signing_key(path).key_id == check(path).key_id


def test_same_row_gives_the_same_key(issued_license, signer, settings):
    [again] = load_licenses(issued_license.invoice_id)
    assert (
        signer.key_for(issued_license) == signer.key_for(again) == load_signer(settings.signing_key_file).key_for(again)
    )


def test_key_of_a_row_says_what_the_row_says(empty_database, fake, signer):
    make_account()
    terms = Terms(duration_seconds=86_400, is_trial=True, entitlements=("export", "größe"))
    make_catalog(terms=terms)
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    [row] = load_licenses(invoice.id)
    payload = verify(signer.key_for(row), signer.public_key)
    assert (payload.license_id, payload.product_id) == (row.id, row.product_id)
    assert payload.issued_at == row.issued_at.timestamp()
    assert payload.expires_at == payload.issued_at + 86_400
    assert (payload.is_trial, payload.entitlements) == (True, ("export", "größe"))
    assert payload.fingerprint_hash is None


def test_signer_verified_by_published_client(issued_license, signer):
    """The published client verifies a row's key with the shown public key."""
    read = Verifier(PublicKey.from_pem(signer.public_key_pem)).verify(signer.key_for(issued_license)).payload
    assert read.license_id == issued_license.id
    assert read.expires_at == 0
