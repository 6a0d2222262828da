"""License files and machine files: what is in them, who gets one, and what a program makes of it."""

import base64
import hashlib
import json
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keysat_licensing_client import PublicKey, Verifier
from sqlalchemy import func

from keysat.catalog.products import Terms
from keysat.core.db import DATABASE, Database, reading, transaction
from keysat.licenses.edit import replace_key
from keysat.licenses.files import DEFAULT_TTL, MIN_TTL, NoFile, file_for_key, sign_file
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate, deactivate
from keysat.licenses.seats import Caller
from keysat.licenses.signer import Signer
from keysat.licenses.state import Reason
from keysat.models import License
from keysat.models.license import LicenseStatus
from tests.builders import load_machines, make_license, set_license
from tests.examples import FOLDER, load_example

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_license_file")
LAPTOP = Caller.of("laptop", "a-laptop", "linux")


@pytest.fixture
def row():
    return make_license(terms=Terms(max_machines=2, entitlements=("export", "sync")))


@pytest.fixture
def read_key(signer):
    return lambda text: verify(text, signer.public_key)


@pytest.fixture
def made(signer):
    """Signs a file of a license as it is now."""

    def run(row, **options):
        with reading() as session:
            return sign_file(session, signer, session.get_one(License, row.id), **options)

    return run


@pytest.fixture
def check(signer):
    """Reads a file as a program without a network does."""

    def run(file, kind="license", **options):
        return EXAMPLE.read_file(file.text, signer.public_key_pem, kind, **options)

    return run


def signed_of(text):
    return json.loads(base64.b64decode("".join(text.splitlines()[1:-1])))


def armored(text, **changed):
    """The same file with parts of its JSON replaced."""
    lines, inner = text.splitlines(), json.dumps({**signed_of(text), **changed})
    return "\n".join([lines[0], base64.b64encode(inner.encode()).decode(), lines[-1]])


def seat(row, signer, read_key, caller=LAPTOP):
    activate(DATABASE, read_key, signer.key_for(row), caller)


def test_license_file_says_what_the_license_is(row, made, check, signer):
    file = made(row)
    content = check(file)
    attributes = content["data"]["attributes"]
    assert (content["data"]["type"], content["data"]["id"]) == ("licenses", str(row.id))
    assert (attributes["status"], attributes["expiry"], attributes["maxMachines"]) == ("ACTIVE", None, 2)
    codes = {(node["type"], node["attributes"]["code"]) for node in content["included"]}
    assert codes == {("products", "editor"), ("entitlements", "export"), ("entitlements", "sync")}
    assert content["meta"]["ttl"] == file.ttl == DEFAULT_TTL
    assert file.expiry - file.issued == timedelta(seconds=DEFAULT_TTL)


def test_key_in_the_file_is_one_that_the_published_client_verifies(row, made, check, signer):
    key = check(made(row))["data"]["attributes"]["key"]
    assert Verifier(PublicKey.from_pem(signer.public_key_pem)).verify(key).license_id == row.id


def test_form_is_that_of_keygen(row, made, signer):
    """The armor, the JSON in it, and the prefix that is signed."""
    text = made(row).text
    assert text.startswith("-----BEGIN LICENSE FILE-----\n")
    assert text.endswith("\n-----END LICENSE FILE-----\n")
    signed = signed_of(text)
    assert set(signed) == {"enc", "sig", "alg"}
    assert signed["alg"] == "base64+ed25519"
    signer.public_key.verify(base64.b64decode(signed["sig"]), f"license/{signed['enc']}".encode())
    assert set(json.loads(base64.b64decode(signed["enc"]))["meta"]) == {"issued", "expiry", "ttl"}


def test_machine_file_is_for_its_machine(row, made, check, signer, read_key):
    seat(row, signer, read_key)
    file = made(row, fingerprint_hash=LAPTOP.fingerprint_hash, fingerprint="laptop")
    content = check(file, "machine", fingerprint="laptop")
    attributes = content["data"]["attributes"]
    assert (attributes["fingerprint"], attributes["hostname"], attributes["platform"]) == (
        "laptop",
        "a-laptop",
        "linux",
    )
    assert content["data"]["relationships"]["license"]["data"]["id"] == str(row.id)
    assert {node["type"] for node in content["included"]} == {"licenses", "products", "entitlements"}
    with pytest.raises(EXAMPLE.Refused, match="another machine"):
        check(file, "machine", fingerprint="desk")


def test_machine_is_named_by_its_hash_where_the_fingerprint_is_unknown(row, made, check, signer, read_key):
    seat(row, signer, read_key)
    file = made(row, fingerprint_hash=LAPTOP.fingerprint_hash)
    attributes = check(file, "machine", fingerprint="laptop")["data"]["attributes"]
    assert attributes["fingerprint"] is None
    assert attributes["fingerprintSha256"] == hashlib.sha256(b"laptop").hexdigest()


def test_machine_without_a_seat_gets_no_file(row, made, signer, read_key):
    with pytest.raises(NoFile, match="has no seat of it") as refusal:
        made(row, fingerprint_hash=LAPTOP.fingerprint_hash)
    assert refusal.value.reason == Reason.NOT_FOUND
    seat(row, signer, read_key)
    made(row, fingerprint_hash=LAPTOP.fingerprint_hash)
    deactivate(DATABASE, read_key, signer.key_for(row), LAPTOP)
    with pytest.raises(NoFile):
        made(row, fingerprint_hash=LAPTOP.fingerprint_hash)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": LicenseStatus.SUSPENDED}, Reason.SUSPENDED),
        ({"status": LicenseStatus.REVOKED}, Reason.REVOKED),
        ({"expires_at": func.now() - timedelta(seconds=1)}, Reason.EXPIRED),
    ],
    ids=["suspended", "revoked", "expired"],
)
def test_license_that_is_not_valid_gets_no_file(row, made, signer, read_key, facts, reason):
    key = signer.key_for(row)
    set_license(row.id, **facts)
    with pytest.raises(NoFile, match=f"refused as {reason}") as refusal:
        made(row)
    assert refusal.value.reason == reason
    assert file_for_key(DATABASE, signer, read_key, key, MIN_TTL) == reason


def test_file_never_outlasts_its_license(row, made):
    """The grace period counts, as it does online."""
    end = datetime.now().astimezone().replace(microsecond=0) + timedelta(days=3)
    set_license(row.id, expires_at=end, grace_seconds=3_600)
    file = made(row, ttl=30 * 86_400)
    assert file.expiry == end + timedelta(hours=1)
    assert file.ttl == (file.expiry - file.issued).total_seconds()
    assert made(row, ttl=MIN_TTL).ttl == MIN_TTL


def test_file_of_a_license_in_grace_ends_with_it(row, made, check):
    set_license(row.id, expires_at=func.now() - timedelta(hours=1), grace_seconds=86_400)
    assert check(made(row))["data"]["attributes"]["status"] == "ACTIVE"


def test_file_ends(row, made, check):
    file = made(row, ttl=MIN_TTL)
    check(file, now=file.expiry - timedelta(seconds=1))
    for moment in (file.expiry, file.expiry + timedelta(days=1)):
        with pytest.raises(EXAMPLE.Refused, match="is over"):
            check(file, now=moment)


def test_clock_that_is_behind_stops_no_program(row, made, check):
    """It can't be earlier than the file."""
    file = made(row)
    assert check(file, now=file.issued - timedelta(days=3_000))


@pytest.mark.parametrize("part", ["enc", "sig", "alg"])
def test_changed_file_is_refused(row, made, signer, part):
    other = signed_of(made(make_license("player")).text) | {"alg": "base64+rsa"}
    with pytest.raises(EXAMPLE.Refused):
        EXAMPLE.read_file(armored(made(row).text, **{part: other[part]}), signer.public_key_pem, "license")


@pytest.mark.parametrize("text", ["", "-----BEGIN LICENSE FILE-----", "nonsense", "-----BEGIN LICENSE FILE-----\n!\n"])
def test_text_that_is_no_file_is_refused(signer, text):
    with pytest.raises(EXAMPLE.Refused):
        EXAMPLE.read_file(text, signer.public_key_pem, "license")


def test_file_of_another_seller_is_refused(row, made):
    stranger = Signer(Ed25519PrivateKey.generate())
    with pytest.raises(EXAMPLE.Refused, match="another seller's"):
        EXAMPLE.read_file(made(row).text, stranger.public_key_pem, "license")


def test_license_file_passes_for_no_machine_file(row, made, signer):
    """Neither as it is, nor with the lines around it exchanged."""
    text = made(row).text
    for given in (text, text.replace("LICENSE", "MACHINE")):
        with pytest.raises(EXAMPLE.Refused):
            EXAMPLE.read_file(given, signer.public_key_pem, "machine", fingerprint="laptop")


def test_key_gets_its_files(row, check, signer, read_key):
    key = signer.key_for(row)
    assert check(file_for_key(DATABASE, signer, read_key, key, MIN_TTL))["data"]["id"] == str(row.id)
    assert file_for_key(DATABASE, signer, read_key, key, MIN_TTL, "laptop") == Reason.NOT_FOUND
    seat(row, signer, read_key)
    content = check(file_for_key(DATABASE, signer, read_key, key, MIN_TTL, "laptop"), "machine", fingerprint="laptop")
    assert content["data"]["id"] == str(load_machines(row.id)[0].id)


def test_replaced_key_gets_no_file(row, signer, read_key):
    old = signer.key_for(row)
    with transaction() as session:
        replace_key(session, row.id, "cli", "because")
    assert file_for_key(DATABASE, signer, read_key, old, MIN_TTL) == Reason.REVOKED


def test_key_that_is_replaced_meanwhile_gets_no_file_with_the_new_one(row, signer, read_key):
    """The license's state was read, and the key is rotated before the file is made."""
    reads = []

    def rotating():
        if len(reads) == 1:
            with transaction() as session:
                replace_key(session, row.id, "cli", "because")
        reads.append(1)
        return reading()

    database = Database(rotating, transaction)
    assert file_for_key(database, signer, read_key, signer.key_for(row), MIN_TTL) == Reason.REVOKED
    assert len(reads) == 2


def test_example_is_short_and_needs_one_package():
    lines = [line for line in (FOLDER / "check_license_file.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"base64", "hashlib", "json", "datetime", "cryptography"}
