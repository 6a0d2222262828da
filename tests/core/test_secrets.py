"""Credentials are encrypted, keys rotate, and only its owner can read a secret's file, which is never replaced."""

import os
import stat

import pytest
from cryptography.fernet import Fernet

from keysat.core.errors import SettingsError
from keysat.core.hints import Hint
from keysat.core.secrets import seal, secret_box, unseal, write_private
from keysat.core.settings import Settings

CREDENTIALS = {"api_key": "abc", "webhook_secret": "dé"}


@pytest.fixture
def box_of(tmp_path, monkeypatch):
    """Makes the box of a given KEYSAT_SECRETS_KEY, or of the key file in `tmp_path`."""
    monkeypatch.setenv("KEYSAT_DATA_DIR", str(tmp_path))

    def make(*keys):
        monkeypatch.setenv("KEYSAT_SECRETS_KEY", ",".join(key.decode() for key in keys))
        return secret_box(Settings())

    return make


@pytest.fixture
def old():
    return Fernet.generate_key()


@pytest.fixture
def new():
    return Fernet.generate_key()


def test_credentials_come_back_as_they_were_sealed(box_of, new):
    assert unseal(box_of(new), seal(box_of(new), CREDENTIALS), "account main") == CREDENTIALS


def test_sealed_credentials_show_nothing(box_of, new):
    assert b"abc" not in seal(box_of(new), CREDENTIALS)


def test_secrets_after_rotation(box_of, old, new):
    """Old credentials are readable, and new ones need the new key."""
    sealed_before = seal(box_of(old), CREDENTIALS)
    rotating = box_of(new, old)
    assert unseal(rotating, sealed_before, "account main") == CREDENTIALS
    sealed_after = seal(rotating, CREDENTIALS)
    assert unseal(box_of(new), sealed_after, "account main") == CREDENTIALS
    with pytest.raises(SettingsError):
        unseal(box_of(old), sealed_after, "account main")


def test_secrets_wrong_key(box_of, old, new):
    """The error names the account and the remedy."""
    sealed = seal(box_of(old), CREDENTIALS)
    with pytest.raises(SettingsError, match="account main can't be decrypted") as refusal:
        unseal(box_of(new), sealed, "account main")
    assert refusal.value.hint is Hint.RESTORE_SECRETS_KEY


@pytest.mark.parametrize("place", [0, 10, -1])
def test_changed_ciphertext_is_refused(box_of, new, place):
    sealed = bytearray(seal(box_of(new), CREDENTIALS))
    sealed[place] ^= 1
    with pytest.raises(SettingsError, match="can't be decrypted"):
        unseal(box_of(new), bytes(sealed), "account main")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'"text"', b'{"secret": 7}'])
def test_content_of_another_form_is_refused(box_of, new, content):
    """As another version, or another program with the key, may write it."""
    with pytest.raises(SettingsError, match=r"^the stored credentials of account main can't be read by this version"):
        unseal(box_of(new), box_of(new).encrypt(content), "account main")


def test_missing_name_is_refused(box_of, new):
    with pytest.raises(SettingsError, match=r"^the stored credentials of endpoint x contain no secret and no path;"):
        unseal(box_of(new), seal(box_of(new), CREDENTIALS), "endpoint x", "api_key", "secret", "path")


def test_several_keys_may_be_written_with_spaces(monkeypatch, old, new):
    monkeypatch.setenv("KEYSAT_SECRETS_KEY", f" {new.decode()} , {old.decode()} ")
    assert unseal(secret_box(Settings()), seal(secret_box(Settings()), CREDENTIALS), "x") == CREDENTIALS


@pytest.mark.parametrize("key", [b"short", b"x" * 44, "ä".encode() * 22, b","])
def test_secrets_malformed_key(box_of, key):
    """The error names the variable."""
    with pytest.raises(SettingsError, match="KEYSAT_SECRETS_KEY can't be used"):
        box_of(key)


def test_malformed_key_beside_a_good_one_is_refused(box_of, new):
    with pytest.raises(SettingsError, match="KEYSAT_SECRETS_KEY can't be used"):
        box_of(new, b"short")


def test_refusal_does_not_repeat_the_key(box_of):
    with pytest.raises(SettingsError) as refusal:
        box_of(b"hunter2")
    assert "hunter2" not in str(refusal.value)


def test_key_file_serves_where_the_variable_is_unset(box_of, tmp_path, new):
    write_private(tmp_path / "secrets.key", new + b"\n")
    assert unseal(box_of(), seal(box_of(new), CREDENTIALS), "account main") == CREDENTIALS


def test_without_any_key_the_sentence_says_how_to_make_one(box_of, tmp_path):
    with pytest.raises(SettingsError, match=rf"{tmp_path}/secrets.key can't be read") as refusal:
        box_of()
    assert refusal.value.hint is Hint.CREATE_SECRETS_KEY


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"garbage", bytes(range(128, 168))], ids=["empty", "blank", "text", "binary"]
)
def test_secrets_empty_key_file(box_of, tmp_path, content):
    """The error names the file."""
    write_private(tmp_path / "secrets.key", content)
    with pytest.raises(SettingsError, match=r"secrets\.key"):
        box_of()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_private_file_ignores_the_umask(tmp_path, umask):
    path = tmp_path / "new" / "folder" / "key"
    before = os.umask(umask)
    try:
        write_private(path, b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes() == b"content"


def test_private_file_is_never_replaced(tmp_path):
    path = tmp_path / "key"
    write_private(path, b"first")
    with pytest.raises(FileExistsError):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"


def test_private_file_does_not_follow_a_link(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "key", b"content")
    assert not (tmp_path / "elsewhere").exists()
