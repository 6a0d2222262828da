"""A key's holder frees seats: only of the own license, so often in 30 days, and no oftener in a race."""

from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, Database, reading, transaction
from keysat.licenses.edit import replace_key, transfer_license
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate, deactivate
from keysat.licenses.releases import list_seats, release_seat
from keysat.licenses.seats import Caller
from keysat.licenses.state import Reason
from keysat.models import AuditLine, Machine
from keysat.models.license import LicenseStatus
from tests.builders import audit_actions, load_machines, make_license, set_license
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database")


class Holder:
    """The holder of a key."""

    def __init__(self, signer, row):
        self.key, self.license_id, self._signer = signer.key_for(row), row.id, signer
        self.database = DATABASE

    def _read_key(self, text):
        return verify(text, self._signer.public_key)

    def use_on(self, *names):
        """Take a seat on each machine. Returns their ids."""
        return [activate(self.database, self._read_key, self.key, Caller.of(name)).machine_id for name in names]

    def leave(self, name):
        return deactivate(self.database, self._read_key, self.key, Caller.of(name))

    def seats(self):
        return list_seats(self.database, self._read_key, self.key)

    def release(self, machine_id, note=None):
        return release_seat(self.database, self._read_key, self.key, machine_id, note)


@pytest.fixture
def holder(signer):
    return Holder(signer, make_license(terms=Terms(max_machines=2, releases_per_seat=1)))


def freed_earlier(machine_id, ago):
    with transaction() as session:
        session.execute(update(Machine).where(Machine.id == machine_id).values(deactivated_at=func.now() - ago))


def test_freed_seat_goes_to_another_machine(holder):
    lost, desk = holder.use_on("lost", "desk")
    assert holder.use_on("new") == [None]
    after = holder.release(lost)
    assert (after.reason, after.releases_left, [machine.id for machine in after.machines]) == (None, 1, [desk])
    assert holder.use_on("new") != [None]
    assert audit_actions(lost) == ["machine.activated", "machine.deactivated"]


def test_releases_are_limited_for_30_days(holder):
    first, second = holder.use_on("a", "b")
    holder.release(first)
    assert holder.release(second).releases_left == 0
    [third] = holder.use_on("c")
    refused = holder.release(third)
    assert (refused.reason, [machine.id for machine in refused.machines]) == (Reason.TOO_MANY_RELEASES, [third])
    freed_earlier(first, timedelta(days=30, minutes=-1))
    assert holder.release(third).reason == Reason.TOO_MANY_RELEASES
    freed_earlier(first, timedelta(days=30, minutes=1))
    assert holder.release(third).reason is None


def test_reason_of_a_release_is_kept(holder):
    lost, desk = holder.use_on("lost", "desk")
    holder.release(lost, "it was stolen")
    holder.release(desk)
    kept = {
        machine.id: (machine.deactivation_reason, machine.by_holder) for machine in load_machines(holder.license_id)
    }
    assert kept == {lost: ("it was stolen", True), desk: (None, True)}
    with reading() as session:
        lines = select(AuditLine.subject_id, AuditLine.actor, AuditLine.detail["reason"].astext)
        freed = session.execute(lines.where(AuditLine.action == "machine.deactivated").order_by(AuditLine.id)).all()
    assert freed == [(lost, "holder", "it was stolen"), (desk, "holder", None)]


def test_program_that_frees_its_own_seat_is_not_counted(holder):
    for name in ("a", "b", "c"):
        holder.use_on(name)
        holder.leave(name)
    assert holder.seats().releases_left == 2


def test_unlimited_seats_have_unlimited_releases(signer):
    holder = Holder(signer, make_license(terms=Terms(max_machines=0, releases_per_seat=0)))
    [machine] = holder.use_on("a")
    after = holder.release(machine)
    assert (after.reason, after.releases_left, after.max_machines) == (None, None, 0)


def test_other_licenses_machines_are_not_found(holder, signer):
    [theirs] = Holder(signer, make_license("viewer")).use_on("a")
    for machine_id in (theirs, uuid4()):
        assert holder.release(machine_id).reason == Reason.NOT_FOUND
    assert holder.seats().releases_left == 2


def test_seats_of_a_license_that_is_over_can_be_freed(holder):
    [machine] = holder.use_on("a")
    set_license(holder.license_id, status=LicenseStatus.SUSPENDED)
    assert holder.release(machine).reason is None


def test_racing_releases_stay_within_the_limit(signer):
    """Each racer frees another machine of eight, and the license allows three releases."""
    holder = Holder(signer, make_license(terms=Terms(max_machines=8)))
    machines = holder.use_on(*"abcdefgh")
    set_license(holder.license_id, max_machines=3, releases_per_seat=1)
    freed, surprises = race(1, lambda _, racer: holder.release(machines[racer]).reason is None, count=8)
    assert (sorted(freed), surprises) == ([False] * 5 + [True] * 3, [])
    assert holder.seats().releases_left == 0


def test_new_holder_has_releases_of_his_own(holder, signer):
    lost, _ = holder.use_on("lost", "desk")
    holder.release(lost)
    with transaction() as session:
        row = transfer_license(session, holder.license_id, "new@example.com", "cli", "sold on")
        after = Holder(signer, row)
    assert (holder.seats().reason, after.seats().releases_left) == (Reason.REVOKED, 2)


@pytest.mark.parametrize("free", ["release", "leave"])
def test_key_replaced_meanwhile_frees_no_seat(holder, free):
    """The key is read before the license is locked."""
    (desk,) = holder.use_on("desk")

    @contextmanager
    def read_then_replace():
        with reading() as session:
            yield session
        holder.database = DATABASE
        with transaction() as session:
            replace_key(session, holder.license_id, "cli", "leaked")

    holder.database = Database(read_then_replace, transaction)
    assert {"release": lambda: holder.release(desk), "leave": lambda: holder.leave("desk")}[free]().reason == "revoked"
    assert [machine.deactivated_at for machine in load_machines(holder.license_id)] == [None]
