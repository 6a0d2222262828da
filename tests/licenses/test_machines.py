"""Machines: seats are taken once, renewed, freed, and never sold twice under concurrency."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, update

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, NotFound
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate, deactivate, deactivate_machine, heartbeat, list_machines
from keysat.licenses.seats import SEEN_EVERY, Caller, validate
from keysat.licenses.state import Reason
from keysat.models import Machine
from keysat.models.license import LicenseStatus
from tests.builders import audit_actions, load_machines, make_license, set_license
from tests.races import RACERS, race

LAPTOP, DESK = Caller.of("laptop", "lena", "linux"), Caller.of("desk")

pytestmark = pytest.mark.usefixtures("empty_database")


class Program:
    """A buyer's program with a license key."""

    def __init__(self, signer, row):
        self.key, self._signer = signer.key_for(row), signer

    def _read_key(self, text):
        return verify(text, self._signer.public_key)

    def activate(self, caller):
        return activate(DATABASE, self._read_key, self.key, caller)

    def heartbeat(self, caller):
        return heartbeat(DATABASE, self._read_key, self.key, caller)

    def deactivate(self, caller, reason=None):
        return deactivate(DATABASE, self._read_key, self.key, caller, reason)

    def validate(self, caller):
        return validate(DATABASE, self._read_key, self.key, caller=caller)


@pytest.fixture
def license_row():
    return make_license(terms=Terms(max_machines=2))


@pytest.fixture
def program(signer, license_row):
    return Program(signer, license_row)


def let_pass(machine_id, time):
    """Let a machine have been seen last so long ago."""
    with transaction() as session:
        session.execute(update(Machine).where(Machine.id == machine_id).values(last_seen_at=func.now() - time))


def last_seen(row):
    [machine] = load_machines(row.id)
    return machine.last_seen_at


def test_activated_machine_has_its_seat_and_its_audit_line(program, license_row):
    verdict = program.activate(LAPTOP)
    [machine] = load_machines(license_row.id)
    assert (verdict.reason, verdict.machine_id, verdict.active_count) == (None, machine.id, 1)
    assert (machine.hostname, machine.platform, machine.deactivated_at) == ("lena", "linux", None)
    assert audit_actions(machine.id) == ["machine.activated"]


def test_machine_activated_again_keeps_its_seat(program, license_row):
    first, second = program.activate(LAPTOP), program.activate(LAPTOP)
    assert (second.reason, second.machine_id, second.active_count) == (None, first.machine_id, 1)
    assert audit_actions(first.machine_id) == ["machine.activated"]


@pytest.mark.parametrize("seats", [1, 2])
def test_machine_too_many_is_refused_with_the_count(signer, seats):
    program = Program(signer, make_license("own", Terms(max_machines=seats)))
    for number in range(seats):
        program.activate(Caller.of(f"machine {number}"))
    refused = program.activate(LAPTOP)
    assert (refused.reason, refused.machine_id) == (Reason.TOO_MANY_MACHINES, None)
    assert (refused.active_count, refused.license_state.max_machines) == (seats, seats)


def test_freed_seat_goes_to_next_machine(signer):
    """The first machine must then wait."""
    row = make_license("own")
    program = Program(signer, row)
    first = program.validate(LAPTOP).machine_id
    freed = program.deactivate(LAPTOP, "sold")
    assert (freed.reason, freed.machine_id, freed.active_count) == (None, first, 0)
    assert program.validate(DESK).reason is None
    assert program.validate(LAPTOP).reason == Reason.FINGERPRINT_MISMATCH
    assert [machine.deactivation_reason for machine in load_machines(row.id)] == ["sold", None]
    assert audit_actions(first) == ["machine.activated", "machine.deactivated"]


def test_machine_comes_back_with_a_seat_of_its_own(program, license_row):
    first = program.activate(LAPTOP).machine_id
    program.deactivate(LAPTOP)
    assert program.activate(LAPTOP).machine_id != first
    assert [machine.deactivated_at is None for machine in load_machines(license_row.id)] == [False, True]


@pytest.mark.parametrize("call", ["heartbeat", "deactivate"])
def test_machine_without_a_seat_is_not_found_and_takes_none(program, license_row, call):
    assert getattr(program, call)(LAPTOP).reason == Reason.NOT_FOUND
    assert load_machines(license_row.id) == []


@pytest.mark.parametrize("status", [LicenseStatus.SUSPENDED, LicenseStatus.REVOKED])
def test_withdrawn_license_seats(program, license_row, status):
    """A withdrawn license can't activate or renew a seat, but can free one."""
    program.activate(LAPTOP)
    set_license(license_row.id, status=status)
    assert program.activate(DESK).reason == Reason(status)
    assert program.heartbeat(LAPTOP).reason == Reason(status)
    assert program.deactivate(LAPTOP).reason is None
    [machine] = load_machines(license_row.id)
    assert machine.deactivated_at is not None


@pytest.mark.parametrize("call", ["activate", "heartbeat", "deactivate"])
def test_key_that_is_not_ours_does_nothing(program, license_row, call):
    program.activate(LAPTOP)
    for key, reason in (("nonsense", Reason.BAD_FORMAT), (f"{program.key[:-4]}AAAA", Reason.BAD_SIGNATURE)):
        program.key = key
        verdict = getattr(program, call)(LAPTOP)
        assert (verdict.reason, verdict.license_state) == (reason, None)
    assert [machine.deactivated_at for machine in load_machines(license_row.id)] == [None]


@pytest.mark.parametrize("call", ["validate", "activate", "heartbeat"])
def test_machine_is_seen_again_when_it_was_not_for_a_while(program, license_row, call):
    machine_id = program.activate(LAPTOP).machine_id
    seen = last_seen(license_row)
    getattr(program, call)(LAPTOP)
    assert last_seen(license_row) == seen
    let_pass(machine_id, SEEN_EVERY + timedelta(seconds=1))
    getattr(program, call)(Caller(LAPTOP.fingerprint_hash, hostname="renamed"))
    assert last_seen(license_row) > seen
    [machine] = load_machines(license_row.id)
    assert (machine.hostname, machine.platform) == ("renamed", "linux")


def test_operator_frees_a_seat_once(program, license_row):
    machine_id = program.activate(LAPTOP).machine_id
    with transaction() as session:
        deactivate_machine(session, machine_id, "lost laptop", "cli")
    with pytest.raises(Conflict, match="was deactivated before"), transaction() as session:
        deactivate_machine(session, machine_id, "again", "cli")
    [machine] = load_machines(license_row.id)
    assert machine.deactivation_reason == "lost laptop"
    assert audit_actions(machine_id) == ["machine.activated", "machine.deactivated"]


def test_unknown_machine_and_unknown_license_are_refused():
    with pytest.raises(NotFound, match="no machine"), transaction() as session:
        deactivate_machine(session, uuid4(), "gone", "cli")
    with pytest.raises(NotFound, match="no license"), reading() as session:
        list_machines(session, uuid4())


@pytest.mark.parametrize("seats", [1, 7])
def test_processes_racing_for_seats_take_each_once(signer, seats):
    row = make_license("own", Terms(max_machines=seats))
    program = Program(signer, row)
    reasons, surprises = race(1, lambda _, racer: program.activate(Caller.of(f"machine {racer}")).reason)
    assert surprises == []
    assert (reasons.count(None), reasons.count(Reason.TOO_MANY_MACHINES)) == (seats, RACERS - seats)
    assert len(load_machines(row.id)) == seats


def test_processes_of_one_machine_racing_share_one_seat(signer):
    row = make_license("own", Terms(max_machines=0))
    program = Program(signer, row)
    verdicts, surprises = race(1, lambda *_: program.activate(LAPTOP).machine_id)
    [machine] = load_machines(row.id)
    assert (set(verdicts), surprises) == ({machine.id}, [])


def test_revocation_that_comes_first_leaves_no_seat(signer):
    row = make_license("own", Terms(max_machines=0))
    program = Program(signer, row)

    def attempt(_, racer):
        if racer == 0:
            set_license(row.id, status=LicenseStatus.REVOKED)
            return None
        return program.activate(Caller.of(f"machine {racer}")).reason

    reasons, surprises = race(1, attempt)
    assert (set(reasons) <= {None, Reason.REVOKED}, surprises) == (True, [])
    assert len(load_machines(row.id)) == reasons.count(None) - 1
