"""Issued licenses are changed, given to others, and get new keys, while published clients go on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, InvalidInput
from keysat.licenses import seats
from keysat.licenses.edit import edit_license, replace_key, transfer_license
from keysat.licenses.keys import verify
from keysat.licenses.machines import deactivate, heartbeat
from keysat.licenses.releases import list_seats
from keysat.licenses.seats import Caller, validate
from keysat.licenses.state import Reason
from keysat.models import AuditLine, License, OutboundEvent
from keysat.models.holders import held_by, holder_email
from keysat.models.license import LicenseStatus
from tests.builders import audit_actions, issue_now, load_licenses, load_machines, make_invoice, make_license
from tests.nodes import wait_until
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database")
LAPTOP = Caller.of("laptop")
WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@pytest.fixture
def row():
    return make_license(terms=Terms(max_machines=1, entitlements=("export",)))


@pytest.fixture
def check(signer):
    """Validates a key on a machine. Returns the reason, or None if it is valid."""

    def run(key, caller=LAPTOP):
        return validate(DATABASE, lambda text: verify(text, signer.public_key), key, caller=caller).reason

    return run


def change(function, license_id, *args):
    with transaction() as session:
        return function(session, license_id, *args, "cli", "because")


def audited(license_id):
    """The last line of the audit log on a license, which must have the note: its action and its fields."""
    with reading() as session:
        lines = select(AuditLine).where(AuditLine.subject_id == license_id).order_by(AuditLine.id.desc())
        line = session.scalars(lines.limit(1)).one()
    assert (line.actor, line.detail["note"]) == ("cli", "because")
    return line.action, line.detail.get("fields")


def holders(email):
    with reading() as session:
        return list(session.scalars(select(License.id).where(held_by(email))))


def test_edited_license_keeps_earlier_keys_valid(row, signer, check):
    end = datetime(2090, 6, 30, 12, 0, 0, 999, UTC)
    old = signer.key_for(row)
    edited = change(edit_license, row.id, {"expires_at": end, "entitlements": ["export", "sync"], "max_machines": 5})
    payload = verify(signer.key_for(edited), signer.public_key)
    assert (payload.expires_at, payload.entitlements) == (int(end.timestamp()), ("export", "sync"))
    assert edited.expires_at == end.replace(microsecond=0)
    assert check(old) is None
    assert check(signer.key_for(edited)) is None
    assert audited(row.id) == ("license.changed", ["entitlements", "expires_at", "max_machines"])


@pytest.mark.parametrize(
    "changes",
    [
        {"max_machines": -1},
        {"releases_per_seat": 1_001},
        {"entitlements": [""]},
        {"holder_email": "nobody"},
        {"expires_at": datetime(1969, 1, 1, tzinfo=UTC)},
        {"status": "revoked"},
    ],
    ids=str,
)
def test_edit_refuses_what_a_license_cannot_be(row, changes):
    with pytest.raises(InvalidInput):
        change(edit_license, row.id, changes)


def test_rotated_key_replaces_every_earlier_one(row, signer, check):
    """Also when it happens twice within a second. The machine keeps its seat."""
    first = signer.key_for(row)
    check(first)
    keys = [first, *(signer.key_for(change(replace_key, row.id)) for _ in range(2))]
    assert len(set(keys)) == 3
    assert [check(key) for key in keys] == [Reason.REVOKED, Reason.REVOKED, None]
    assert audited(row.id) == ("license.rotated", None)
    assert len(load_machines(row.id)) == 1


def test_replaced_key_shows_and_frees_nothing(row, signer, check):
    old, read_key = signer.key_for(row), lambda text: verify(text, signer.public_key)
    check(old)
    change(replace_key, row.id)
    assert list_seats(DATABASE, read_key, old).machines is None
    for call in (deactivate, heartbeat):
        verdict = call(DATABASE, read_key, old, LAPTOP)
        assert (verdict.reason, verdict.license_state) == (Reason.REVOKED, None)
    assert not load_machines(row.id)[0].deactivated


def test_key_that_is_replaced_while_it_takes_a_seat_gets_none(row, signer, check, monkeypatch):
    """The license's state was read, and the key is rotated before the seat is taken."""
    is_full = seats._is_full

    def rotate_first(session, state):
        monkeypatch.setattr(seats, "_is_full", is_full)
        change(replace_key, row.id)
        return is_full(session, state)

    monkeypatch.setattr(seats, "_is_full", rotate_first)
    assert check(signer.key_for(row)) == Reason.REVOKED
    assert load_machines(row.id) == []


def test_transferred_license_has_a_new_key_and_free_seats(row, signer, check):
    old = signer.key_for(row)
    check(old)
    moved = change(transfer_license, row.id, "new@example.com")
    assert (check(old), check(signer.key_for(moved), Caller.of("desk"))) == (Reason.REVOKED, None)
    assert (moved.holder_email, holders("NEW@example.com")) == ("new@example.com", [row.id])
    assert audited(row.id) == ("license.transferred", None)
    assert [machine.deactivated for machine in load_machines(row.id)] == [True, False]


def test_holder_is_the_buyer_until_an_edit_or_a_transfer(fake, signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    [bought] = load_licenses(invoice.id)
    assert holders("Buyer@example.com") == [bought.id]
    changed = change(edit_license, bought.id, {"holder_email": "right@example.com"})
    assert (holders("buyer@example.com"), holders("right@example.com")) == ([], [bought.id])
    with reading() as session:
        assert holder_email(session, bought) == "buyer@example.com"
        assert holder_email(session, changed) == "right@example.com"


@pytest.mark.parametrize(("function", "args"), [(replace_key, ()), (transfer_license, ("new@example.com",))])
def test_revoked_license_stays_as_it_is(row, function, args):
    with transaction() as session:
        session.get_one(License, row.id).status = LicenseStatus.REVOKED
    with pytest.raises(Conflict, match="stays as it is"):
        change(function, row.id, *args)


@pytest.mark.parametrize("note", ["", " \n"])
@pytest.mark.parametrize(
    ("function", "args"), [(edit_license, ({},)), (replace_key, ()), (transfer_license, ("new@example.com",))]
)
def test_change_without_a_reason_is_refused(row, function, args, note):
    before = audit_actions(row.id)
    with pytest.raises(InvalidInput, match="say why"), transaction() as session:
        function(session, row.id, *args, "cli", note)
    assert audit_actions(row.id) == before


def test_racing_editors_replace_the_key_one_after_the_other(row):
    """Each key is later than the one before, though all are made at once. So no two editors hand out the same one."""
    made, surprises = race(1, lambda *_: change(replace_key, row.id).rotated_at, count=8)
    assert surprises == []
    assert len(set(made)) == 8
    with reading() as session:
        assert session.get_one(License, row.id).rotated_at == max(made)


@pytest.mark.parametrize(("function", "args"), [(replace_key, ()), (transfer_license, ("new@example.com",))])
def test_editor_waits_for_a_revocation_in_progress(row, function, args):
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            session.get_one(License, row.id).status = LicenseStatus.REVOKED
            session.flush()
            late = other.submit(change, function, row.id, *args)
            wait_until(lambda: session.scalar(WAITING) or late.done())
        with pytest.raises(Conflict, match="stays as it is"):
            late.result()


def test_rotation_within_the_first_second_is_later_than_the_issue(row):
    assert change(replace_key, row.id).rotated_at >= row.issued_at + timedelta(seconds=1)


def test_former_buyer_never_becomes_the_holder_again(fake, signer):
    """Without an address of its own, a transferred license has no holder that is known."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    (row,) = load_licenses(invoice.id)
    with transaction() as session:
        transfer_license(session, row.id, "new@example.com", "cli", "sold on")
    with transaction() as session:
        edit_license(session, row.id, {"holder_email": None}, "cli", "asked for")
    with reading() as session:
        again = session.get_one(License, row.id)
        assert holder_email(session, again) is None
        assert session.scalars(select(License.id).where(held_by(invoice.buyer_email))).all() == []
        told = session.scalars(select(OutboundEvent.body).order_by(OutboundEvent.id.desc()).limit(1)).all()
    assert all(invoice.buyer_email not in body for body in told)
