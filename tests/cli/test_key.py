"""`keysat key`: creating the keys once, and showing the public one."""

import os
import stat
import subprocess
import sys

import pytest
from keysat_licensing_client import PublicKey
from sqlalchemy import func

from keysat.licenses.signer import load_signer
from tests.builders import issue_now, make_invoice


@pytest.fixture
def elsewhere(tmp_path):
    """Runs a command in a data directory of its own, without any server."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "keysat", *arguments],
            env={**os.environ, "KEYSAT_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.slow
def test_init_creates_both_keys_once_for_their_owner_only(elsewhere, tmp_path):
    missing = elsewhere("key", "show")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "create one with `keysat key init`" in missing.stderr
    assert missing.stderr.count("\n") == 1
    first = elsewhere("key", "init")
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.count("back it up") == 2
    signing, secrets = tmp_path / "data/signing.key", tmp_path / "data/secrets.key"
    contents = signing.read_bytes(), secrets.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (signing, secrets)} == {0o600}
    again = elsewhere("key", "init")
    assert again.returncode == 1
    assert "it is never replaced" in again.stderr
    assert (signing.read_bytes(), secrets.read_bytes()) == contents


def test_init_never_replaces_keys(keysat, settings):
    before = settings.signing_key_file.read_bytes()
    assert "it is never replaced" in keysat("key", "init").refusal
    assert settings.signing_key_file.read_bytes() == before


def test_show_prints_the_public_key_as_clients_embed_it(keysat, signer):
    finished = keysat("key", "show")
    assert (finished.code, finished.out, finished.err) == (0, signer.public_key_pem, "")
    assert PublicKey.from_pem(finished.out)
    assert keysat("key", "show", "--json").json == {"key_id": signer.key_id, "public_key_pem": signer.public_key_pem}


def test_show_never_prints_the_private_key(keysat, settings):
    private = settings.signing_key_file.read_text().splitlines()[1]
    assert load_signer(settings.signing_key_file)
    for options in ([], ["--json"]):
        assert private not in keysat("key", "show", *options).out


@pytest.mark.usefixtures("empty_database")
def test_init_makes_no_new_key_where_licenses_were_signed_with_another(keysat, fake, signer, settings):
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    lost = settings.signing_key_file.rename(settings.signing_key_file.with_suffix(".lost"))
    try:
        assert "restore the file from your backup" in keysat("key", "init").refusal
        assert not settings.signing_key_file.exists()
        shown = keysat("invoice", "show", invoice.id)
        assert shown.code == 0
        assert "restore the file from your backup" in shown.err
    finally:
        lost.rename(settings.signing_key_file)
