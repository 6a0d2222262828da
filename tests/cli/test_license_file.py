"""`keysat license file`: files for machines without a network, made by the operator."""

import pytest

from keysat.core.db import DATABASE, transaction
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate
from keysat.licenses.seats import Caller
from keysat.licenses.withdraw import change_status
from keysat.models.license import LicenseStatus
from tests.builders import make_license
from tests.examples import load_example

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_license_file")
DAY = 86_400


@pytest.fixture
def row(signer):
    """A license that is used on a laptop."""
    made = make_license()
    activate(DATABASE, lambda key: verify(key, signer.public_key), signer.key_for(made), Caller.of("laptop"))
    return made


def test_license_file_is_printed(keysat, row, signer):
    ran = keysat("license", "file", row.id, "--days", "3")
    content = EXAMPLE.read_file(ran.out, signer.public_key_pem, "license")
    assert (content["data"]["id"], content["meta"]["ttl"]) == (str(row.id), 3 * DAY)
    assert ran.err.startswith("valid until ")


def test_machine_file_is_written(keysat, row, signer, tmp_path):
    path = tmp_path / "machine.lic"
    assert str(path) in keysat("license", "file", row.id, "--fingerprint", "laptop", "--out", path).out
    EXAMPLE.read_file(path.read_text(), signer.public_key_pem, "machine", fingerprint="laptop")


def test_json_has_the_file_and_its_times(keysat, row, signer):
    facts = keysat("license", "file", row.id, "--json").json
    content = EXAMPLE.read_file(facts["certificate"], signer.public_key_pem, "license")
    assert facts["expires"].startswith(content["meta"]["expiry"].removesuffix("Z"))


def test_machine_without_a_seat_is_refused(keysat, row):
    refusal = keysat("license", "file", row.id, "--fingerprint", "desk").refusal
    assert refusal == f"license {row.id} gets no file: the machine has no seat of it."


def test_withdrawn_license_is_refused(keysat, row):
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.REVOKED, "cli", "because")
    assert "refused as revoked" in keysat("license", "file", row.id).refusal


def test_unknown_license_is_refused(keysat, empty_database):
    assert "no license" in keysat("license", "file", "0198c0de-0000-7000-8000-000000000000").refusal
