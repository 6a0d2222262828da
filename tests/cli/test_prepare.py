"""`keysat up` prepares the installation in a process of its own."""

import pytest

from keysat.cli.prepare import NotPrepared, prepare_apart
from keysat.core.settings import Settings, load_settings
from keysat.licenses.signer import load_signer


def test_prepared_installation_needs_nothing(servers):
    said = []
    prepare_apart(load_settings(), said.append)
    assert said == []


def test_missing_key_is_created_and_reported(empty_database, tmp_path):
    said, key = [], tmp_path / "signing.key"
    prepare_apart(load_settings().model_copy(update={"signing_key_file": key}), said.append)
    assert said == [f"Created the signing key {key}; back it up."]
    assert load_signer(key)


@pytest.mark.slow
def test_refusal_is_the_childs_sentence(tmp_path):
    settings = Settings(data_dir=tmp_path, DATABASE_URL="postgresql://keysat@127.0.0.1:1/keysat")
    said = []
    with pytest.raises(NotPrepared, match=r"^PostgreSQL .* 127\.0\.0\.1:1"):
        prepare_apart(settings, said.append)
    assert said == []
