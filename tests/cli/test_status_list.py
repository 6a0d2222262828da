"""`keysat status-list`: the list for a static host, a mirror or a USB stick."""

import json
from pathlib import Path

import pytest

from keysat.core.db import transaction
from keysat.licenses.withdraw import change_status
from keysat.models.license import LicenseStatus
from tests.builders import make_license
from tests.examples import load_example

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_status_list")


@pytest.fixture
def revoked():
    row = make_license()
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.REVOKED, "cli", "because")
    return row


def test_list_is_printed(keysat, revoked, signer):
    ran = keysat("status-list")
    head, entries = EXAMPLE.read_list(ran.out, signer.public_key)
    assert (head["sequence"], list(entries)) == (1, [revoked.id.bytes])
    assert ran.err.startswith("list 1 has 1 license and is valid until ")


def test_each_list_is_newer_and_replaces_the_file(keysat, revoked, signer, tmp_path):
    path = tmp_path / "list.json"
    for sequence in (1, 2):
        facts = keysat("status-list", "--out", path, "--days", "30", "--json").json
        head, _ = EXAMPLE.read_list(path.read_text(), signer.public_key)
        assert (facts["sequence"], head["sequence"]) == (sequence, sequence)
    assert facts["bytes"] == path.stat().st_size
    assert (facts["licenses"], facts["epoch"], facts["file"]) == (1, 0, str(path))
    assert head["expires_at"] - head["issued_at"] == 30 * 86_400
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_followed(keysat, revoked, tmp_path):
    target, link = tmp_path / "list.json", tmp_path / "link.json"
    link.symlink_to(target)
    keysat("status-list", "--out", link)
    assert link.is_symlink()
    assert target.read_text().startswith("{")


def test_file_that_cannot_be_written_is_refused(keysat, revoked, tmp_path):
    assert "can't be written" in keysat("status-list", "--out", tmp_path / "nowhere" / "list.json").refusal


def test_device_is_written_to_and_not_replaced(keysat, revoked):
    keysat("status-list", "--out", "/dev/null")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("days", ["0", "367"])
def test_list_lasts_a_day_to_a_year(keysat, days):
    assert "--days" in keysat("status-list", "--days", days).usage


def test_example_reads_what_was_printed(keysat, revoked, signer):
    text = keysat("status-list").out
    assert (
        EXAMPLE.refusal(EXAMPLE.read_key(signer.key_for(revoked), signer.public_key), text, signer.public_key, (0, 0))[
            0
        ]
        == "withdrawn"
    )
    assert json.loads(text)["alg"] == "base64+ed25519"
