"""Validation: which keys are valid, on which machine and until when. The database decides each time."""

import base64
import struct
from datetime import timedelta

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event, func, select, text

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, engine, reading, transaction
from keysat.licenses.keys import sign, verify
from keysat.licenses.seats import Caller, validate
from keysat.licenses.state import Reason
from keysat.licenses.withdraw import change_status
from keysat.models import AuditLine
from keysat.models.license import LicenseStatus
from tests.builders import load_machines, make_license, set_license
from tests.races import race

LAPTOP, DESK = Caller.of("laptop", "lena", "linux"), Caller.of("desk")
DAY = timedelta(days=1)
TERMINATE = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def ask(signer):
    """Validates a key, or the key of a license row."""

    def asked(key, product_slug=None, caller=None):
        text = key if isinstance(key, str) else signer.key_for(key)
        return validate(
            DATABASE, lambda license_key: verify(license_key, signer.public_key), text, product_slug, caller
        )

    return asked


@pytest.fixture
def license_key(signer):
    return signer.key_for(make_license())


def audit_lines():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(AuditLine))


def base32(raw):
    return base64.b32encode(raw).decode().rstrip("=")


def key_of(raw, private_key):
    return f"LIC1-{base32(raw)}-{base32(private_key.sign(raw))}"


def payload_of(key):
    text = key.split("-")[1]
    return base64.b32decode(text + "=" * (-len(text) % 8))


def test_good_key_comes_with_all_that_is_known_of_its_license(ask):
    row = make_license(terms=Terms(duration_seconds=3_600, max_machines=3, is_trial=True, entitlements=("a", "b")))
    verdict = ask(row, "editor", LAPTOP)
    assert verdict.reason is None
    license_state = verdict.license_state
    assert (license_state.license_id, license_state.product_id, license_state.product_slug) == (
        row.id,
        row.product_id,
        "editor",
    )
    assert (license_state.issued_at, license_state.expires_at) == (row.issued_at, row.expires_at)
    assert (license_state.status, license_state.is_trial, license_state.max_machines) == ("active", True, 3)
    assert license_state.entitlements == ["a", "b"]
    assert [machine.id for machine in load_machines(row.id)] == [verdict.machine_id]


def test_first_applicable_reason_is_returned(ask, signer):
    row = make_license(fingerprint_hash=DESK.fingerprint_hash)
    key = signer.key_for(row)
    set_license(row.id, expires_at=func.now() - DAY, status=LicenseStatus.REVOKED)
    reasons = [ask("nonsense", "viewer", LAPTOP).reason, ask(f"{key[:-4]}AAAA", "viewer", LAPTOP).reason]
    reasons.append(ask(key, "viewer", LAPTOP).reason)
    reasons.append(ask(key, "editor", LAPTOP).reason)
    set_license(row.id, status=LicenseStatus.SUSPENDED)
    reasons.append(ask(key, "editor", LAPTOP).reason)
    set_license(row.id, status=LicenseStatus.ACTIVE)
    reasons.append(ask(key, "editor", LAPTOP).reason)
    set_license(row.id, expires_at=None)
    reasons.append(ask(key, "editor", LAPTOP).reason)
    assert reasons == [
        Reason.BAD_FORMAT,
        Reason.BAD_SIGNATURE,
        Reason.PRODUCT_MISMATCH,
        Reason.REVOKED,
        Reason.SUSPENDED,
        Reason.EXPIRED,
        Reason.FINGERPRINT_MISMATCH,
    ]
    assert load_machines(row.id) == []


def test_refusal_has_the_license(ask):
    row = make_license(status=LicenseStatus.REVOKED)
    license_state = ask(row, "editor", LAPTOP).license_state
    assert (license_state.license_id, license_state.status) == (row.id, "revoked")


def test_well_signed_key_without_a_license_is_not_found(ask, signer):
    row = make_license()
    row.id = row.product_id
    assert ask(row).reason == Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("left", "grace", "reason", "in_grace"),
    [
        (DAY, 0, None, False),
        (-DAY, 0, Reason.EXPIRED, False),
        (-DAY, 2 * 86_400, None, True),
        (-3 * DAY, 2 * 86_400, Reason.EXPIRED, False),
        (DAY, 2 * 86_400, None, False),
    ],
)
def test_license_counts_until_its_grace_is_over(ask, left, grace, reason, in_grace):
    row = make_license(grace_seconds=grace, expires_at=func.now() + left)
    verdict = ask(row)
    assert (verdict.reason, verdict.license_state.in_grace_period) == (reason, in_grace)
    assert verdict.license_state.grace_until == row.expires_at + timedelta(seconds=grace)


def test_perpetual_license_never_expires(ask):
    license_state = ask(make_license(grace_seconds=60)).license_state
    assert (license_state.expires_at, license_state.grace_until, license_state.in_grace_period) == (None, None, False)


@pytest.mark.parametrize("shift", [-3_650, 3_650])
def test_only_the_databases_clock_decides(ask, shift):
    row, expired = make_license(expires_at=func.now() + DAY), make_license("old", expires_at=func.now() - DAY)
    with time_machine.travel(func_now() + timedelta(days=shift)):
        assert ask(row).reason is None
        assert ask(expired).reason == Reason.EXPIRED


def func_now():
    with reading() as session:
        return session.scalar(select(func.now()))


def test_validate_withdrawn_license(ask):
    """A revoked license is refused for good, a suspended one until it is unsuspended."""
    row = make_license()
    assert ask(row, caller=LAPTOP).reason is None
    reasons = []
    for status in (LicenseStatus.SUSPENDED, LicenseStatus.ACTIVE, LicenseStatus.REVOKED):
        with transaction() as session:
            change_status(session, row.id, status, "cli", "because")
        reasons.append(ask(row, caller=LAPTOP).reason)
    assert reasons == [Reason.SUSPENDED, None, Reason.REVOKED]


def test_without_a_fingerprint_no_seat_is_checked(ask):
    row = make_license(fingerprint_hash=DESK.fingerprint_hash)
    assert ask(row).reason is None
    assert ask(row).machine_id is None
    assert load_machines(row.id) == []


def test_key_bound_to_a_machine_is_good_on_that_one_only(ask):
    row = make_license(terms=Terms(max_machines=0), fingerprint_hash=DESK.fingerprint_hash)
    assert ask(row, caller=LAPTOP).reason == Reason.FINGERPRINT_MISMATCH
    assert ask(row, caller=DESK).reason is None
    assert [machine.fingerprint_hash for machine in load_machines(row.id)] == [DESK.fingerprint_hash]


def test_one_seat_is_bound_to_the_first_machine(ask):
    row = make_license()
    first, second, again = (ask(row, caller=caller) for caller in (LAPTOP, DESK, LAPTOP))
    assert (first.reason, second.reason, again.reason) == (None, Reason.FINGERPRINT_MISMATCH, None)
    assert (second.machine_id, again.machine_id) == (None, first.machine_id)
    [machine] = load_machines(row.id)
    assert (machine.fingerprint_hash, machine.hostname, machine.platform) == (LAPTOP.fingerprint_hash, "lena", "linux")


def test_each_new_machine_takes_a_seat_until_all_are_taken(ask):
    row = make_license(terms=Terms(max_machines=3))
    reasons = [ask(row, caller=Caller.of(f"machine {number}")).reason for number in range(5)]
    assert reasons == [None] * 3 + [Reason.TOO_MANY_MACHINES] * 2
    assert len(load_machines(row.id)) == 3


def test_seats_may_be_without_limit(ask):
    row = make_license(terms=Terms(max_machines=0))
    assert {ask(row, caller=Caller.of(f"machine {number}")).reason for number in range(20)} == {None}
    assert len(load_machines(row.id)) == 20


def test_validate_known_machine_statements(ask):
    """Validation on a known machine runs one reading statement."""
    row, statements = make_license(), []
    ask(row, "editor", LAPTOP)
    listener = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    event.listen(engine(), "before_cursor_execute", listener)
    try:
        assert ask(row, "editor", LAPTOP).reason is None
    finally:
        event.remove(engine(), "before_cursor_execute", listener)
    [statement] = [statement_text for statement_text in statements if not statement_text.startswith("PREPARE")]
    assert statement.startswith("EXECUTE keysat_standing")


def test_validation_goes_on_after_the_database_cut_all_connections(ask):
    row = make_license()
    ask(row)
    with transaction() as session:
        session.execute(text(TERMINATE))
    assert ask(row).reason is None


def test_refused_machine_locks_nothing(ask):
    row = make_license()
    ask(row, caller=LAPTOP)
    with transaction() as session:
        session.connection().exec_driver_sql("SELECT 1 FROM licenses FOR UPDATE")
        assert ask(row, caller=DESK).reason == Reason.FINGERPRINT_MISMATCH


@pytest.mark.parametrize("spell", [str.lower, lambda key: f" \n\t{key}\r\n ", lambda key: f"\u00a0{key}\u3000"])
def test_key_in_lower_case_or_with_white_space_around_it_is_good(ask, license_key, spell):
    assert ask(spell(license_key), "editor").reason is None


def test_key_of_version_1_is_good(ask, signer):
    row = make_license()
    head = struct.pack(">BB16s16sQ32s", 1, 0, row.product_id.bytes, row.id.bytes, 1_767_225_600, bytes(32))
    assert ask(key_of(head, signer.private_key), "editor").reason is None


def test_key_cut_off_anywhere_is_refused(ask, license_key):
    assert {ask(license_key[:length]).reason for length in range(len(license_key))} == {Reason.BAD_FORMAT}


def test_key_with_one_character_changed_anywhere_is_refused(ask, license_key):
    reasons = {
        ask(license_key[:place] + char + license_key[place + 1 :], caller=LAPTOP).reason
        for place in range(len(license_key))
        for char in "A7-1é"
        if char != license_key[place]
    }
    assert reasons == {Reason.BAD_FORMAT, Reason.BAD_SIGNATURE}


def test_key_of_a_foreign_signer_is_refused(ask, license_key, signer):
    foreign = Ed25519PrivateKey.generate()
    assert ask(sign(verify(license_key, signer.public_key), foreign)).reason == Reason.BAD_SIGNATURE


def test_well_signed_payload_with_extra_bytes_is_refused(ask, license_key, signer):
    assert ask(key_of(payload_of(license_key) + b"\0", signer.private_key)).reason == Reason.BAD_FORMAT


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "LIC1",
        "LIC1--",
        "A" * 60_000,
        f"LIC1-{'A' * 30_000}-{'A' * 30_000}",
        "ключ",
        "LIC1-\U0001f511-A",
        "\x00",
    ],
    ids=["empty", "blank", "prefix", "dashes", "huge", "huge parts", "cyrillic", "emoji", "null"],
)
def test_text_that_is_no_key_is_refused_and_leaves_no_trace(ask, text):
    before = audit_lines()
    assert ask(text, "editor", LAPTOP).reason == Reason.BAD_FORMAT
    assert ask(text).license_state is None
    assert audit_lines() == before


def test_first_requests_of_one_machine_at_once_are_all_good(ask):
    row = make_license(terms=Terms(max_machines=1))
    verdicts, surprises = race(1, lambda *_: ask(row, caller=LAPTOP).reason)
    assert not surprises
    assert set(verdicts) == {None}
