"""`keysat license`: listing, showing, withdrawing, and checking keys without the database."""

import base64
import os
import subprocess
import sys
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func

from keysat.core.settings import load_settings
from keysat.licenses.keys import Payload, sign
from tests.builders import audit_actions, issue_now, load_licenses, make_invoice

FOREIGN = Ed25519PrivateKey.generate()
PAYLOAD = Payload(UUID(int=1), UUID(int=2), issued_at=1_767_225_600, expires_at=1_767_312_000, entitlements=("export",))


def public_pem(key):
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem_of(private_key):
    return public_pem(private_key.public_key())


@pytest.fixture
def owned(empty_database, fake, signer):
    """A license of a settled invoice."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    return load_licenses(invoice.id)[0]


def test_license_is_listed(keysat, owned):
    [row] = keysat("license", "list", "--json").json
    assert row == {
        "id": str(owned.id),
        "product": "editor",
        "status": "active",
        "issued": owned.issued_at.isoformat(),
        "expires": None,
        "invoice_id": str(owned.invoice_id),
    }


def test_list_is_of_one_status_where_asked_for(keysat, owned):
    assert keysat("license", "list", "--status", "revoked", "--json").json == []
    assert len(keysat("license", "list", "--status", "active", "--json").json) == 1
    assert "--status" in keysat("license", "list", "--status", "gone").usage


def test_license_is_shown_with_its_key(keysat, owned, signer):
    shown = keysat("license", "show", owned.id, "--json").json
    assert shown["key"] == signer.key_for(owned)
    assert (shown["license_id"], shown["entitlements"], shown["trial"]) == (str(owned.id), ["export"], False)
    assert signer.key_for(owned) in keysat("license", "show", owned.id).out


@pytest.mark.parametrize(
    ("command", "status"), [("suspend", "suspended"), ("revoke", "revoked"), ("unsuspend", "active")]
)
def test_license_is_withdrawn_and_given_back_with_a_reason(keysat, owned, command, status):
    if command == "unsuspend":
        keysat("license", "suspend", owned.id, "--note", "chargeback")
    finished = keysat("license", command, owned.id, "--note", "because")
    assert (finished.code, finished.out) == (0, "")
    assert load_licenses()[0].status == status
    assert audit_actions(owned.id)[-1] == f"license.{status}"


def test_license_is_edited(keysat, owned):
    shown = keysat(
        *["license", "edit", owned.id, "--until", "2090-01-01", "--machines", "7", "--entitlement", "sync"],
        *["--email", "new@example.com", "--note", "an upgrade", "--json"],
    ).json
    assert (shown["expires"], shown["machines"]) == ("2090-01-01T00:00:00+00:00", 7)
    assert (shown["entitlements"], shown["holder"]) == (["sync"], "new@example.com")
    again = keysat("license", "edit", owned.id, "--until", "", "--email", "", "--note", "back", "--json").json
    assert (again["expires"], again["holder"]) == (None, "buyer@example.com")
    assert "say what to change" in keysat("license", "edit", owned.id, "--note", "nothing").refusal


def test_license_gets_a_new_key_and_a_new_holder(keysat, owned, signer):
    rotated = keysat("license", "rotate", owned.id, "--note", "leaked", "--json").json
    moved = keysat("license", "transfer", owned.id, "new@example.com", "--note", "sold", "--json").json
    assert len({signer.key_for(owned), rotated["key"], moved["key"]}) == 3
    assert (rotated["holder"], moved["holder"]) == ("buyer@example.com", "new@example.com")
    assert [row["id"] for row in keysat("license", "list", "--email", "new@example.com", "--json").json] == [
        str(owned.id)
    ]


def test_recovery_link_is_made_for_a_holder(keysat, owned):
    made = keysat("license", "link", "buyer@example.com", "--json").json
    assert len(made["secret"]) > 40
    assert made["link"] == f"{load_settings().url}/recover/{made['secret']}"
    again = keysat("license", "link", "buyer@example.com", "--json").json
    assert again["secret"] != made["secret"]
    assert keysat("license", "link", "other@example.com").refusal == "other@example.com holds no license."


def test_license_given_away_has_a_holder(keysat, owned):
    given = keysat("license", "issue", "editor", "--email", "friend@example.com", "--note", "a friend", "--json").json
    assert given["holder"] == "friend@example.com"


def test_revoked_license_stays_revoked(keysat, owned):
    keysat("license", "revoke", owned.id, "--note", "fraud")
    refused = keysat("license", "unsuspend", owned.id, "--note", "sorry").refusal
    assert refused == f"license {owned.id} is revoked, so it can't become active."


@pytest.mark.parametrize("command", ["suspend", "unsuspend", "revoke"])
def test_withdrawal_needs_its_reason(keysat, owned, command):
    assert "--note" in keysat("license", command, owned.id).usage
    assert load_licenses()[0].status == "active"


@pytest.mark.parametrize("command", [["show"], ["revoke", "--note", "x"]])
def test_unknown_license_is_refused(keysat, empty_database, command):
    unknown = uuid4()
    assert f"no license {unknown}" in keysat("license", command[0], unknown, *command[1:]).refusal
    assert "valid UUID" in keysat("license", command[0], "nothing", *command[1:]).usage


def test_our_own_key_verifies(keysat, owned, signer):
    finished = keysat("license", "verify", signer.key_for(owned), "--json")
    assert finished.code == 0
    assert finished.json["license_id"] == str(owned.id)
    assert "the signature is good" in finished.err


def test_key_verifies_with_a_public_key_from_a_file_or_as_base64(keysat, tmp_path):
    key = sign(PAYLOAD, FOREIGN)
    (tmp_path / "public.pem").write_bytes(pem_of(FOREIGN))
    base64_inside = "".join(pem_of(FOREIGN).decode().splitlines()[1:-1])
    for public_key in (tmp_path / "public.pem", base64_inside):
        finished = keysat("license", "verify", key, "--public-key", public_key, "--json")
        assert (finished.code, finished.json["entitlements"]) == (0, ["export"])


@pytest.mark.usefixtures("servers")
def test_key_of_another_signer_is_refused(keysat):
    assert "signature is wrong" in keysat("license", "verify", sign(PAYLOAD, FOREIGN)).refusal


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize("text", ["", "nonsense", "LIC1-AA-AA", "LIC1-ÄÖ-AA", sign(PAYLOAD, FOREIGN)[:-9]])
def test_text_that_is_no_key_is_refused(keysat, command, text):
    assert keysat("license", command, text).refusal


@pytest.mark.parametrize(
    "public_key",
    [
        "nonsense",
        "ä",
        "/nowhere.pem",
        "x" * 5_000,
        base64.b64encode(b"nonsense").decode(),
        "".join(public_pem(rsa.RSAPublicNumbers(65_537, 2**2047 + 1).public_key()).decode().splitlines()[1:-1]),
        "".join(pem_of(ec.generate_private_key(ec.SECP256R1())).decode().splitlines()[1:-1]),
        # An unknown elliptic curve.
        "MBUwDgYHKoZIzj0CAQYDKgMEAwMABAI=",
    ],
    ids=["text", "umlaut", "no file", "long", "base64", "RSA", "EC", "unknown curve"],
)
def test_public_key_of_another_kind_is_refused(keysat, public_key):
    refused = keysat("license", "verify", sign(PAYLOAD, FOREIGN), "--public-key", public_key).refusal
    assert "is no Ed25519 public key" in refused


def test_inspect_shows_what_a_key_says_without_believing_it(keysat):
    assert keysat("license", "inspect", sign(PAYLOAD, FOREIGN), "--json").json == {
        "license_id": str(UUID(int=2)),
        "product_id": str(UUID(int=1)),
        "version": 2,
        "issued": "2026-01-01T00:00:00+00:00",
        "expires": "2026-01-02T00:00:00+00:00",
        "trial": False,
        "fingerprint_sha256": None,
        "entitlements": ["export"],
    }


@pytest.mark.parametrize("seconds", [2**40, 2**63, 2**64 - 1])
def test_inspect_survives_times_beyond_any_calendar(keysat, seconds):
    key = sign(Payload(UUID(int=1), UUID(int=2), issued_at=seconds, expires_at=seconds), FOREIGN)
    finished = keysat("license", "inspect", key, "--json")
    assert (finished.code, finished.json["expires"]) == (0, f"{seconds} s after 1970")


@pytest.mark.slow
def test_verify_needs_no_database(tmp_path):
    (tmp_path / "public.pem").write_bytes(pem_of(FOREIGN))
    verifying = ["license", "verify", sign(PAYLOAD, FOREIGN), "--public-key", str(tmp_path / "public.pem")]
    finished = subprocess.run(
        [sys.executable, "-m", "keysat", *verifying],
        env={**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/nothing"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "the signature is good\n")
