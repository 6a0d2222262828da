"""The status list as it is issued from the licenses in the database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update

from keysat.catalog.products import Terms
from keysat.core.db import reading, transaction
from keysat.licenses.edit import edit_license, replace_key
from keysat.licenses.published import (
    CHECK_SECONDS,
    LIFETIME,
    RENEW_AFTER,
    issue_list,
    last_body,
    last_list,
    refresh_list,
)
from keysat.licenses.status_list import Flag
from keysat.licenses.withdraw import change_status
from keysat.models import License, StatusList
from keysat.models.epoch import Epoch, declare_restore, notice_restore
from keysat.models.license import LicenseStatus
from tests.builders import make_license, set_license
from tests.examples import load_example
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_status_list")
DAY = 86_400
COLUMNS = {column.name: column.type.python_type for column in License.__table__.columns}


@pytest.fixture
def row():
    """A license for a day."""
    return make_license(terms=Terms(duration_seconds=DAY))


@pytest.fixture
def refreshed(signer):
    """Asks for the list. Returns its sequence number."""

    def run():
        with transaction() as session:
            return refresh_list(session, signer)

    return run


@pytest.fixture
def listed(signer):
    """Issues a list. Returns its head and its entries."""

    def run(**options):
        with transaction() as session:
            body = issue_list(session, signer, **options).body
        return EXAMPLE.read_list(body, signer.public_key)

    return run


def change(function, license_id, *args):
    with transaction() as session:
        return function(session, license_id, *args, "cli", "because")


def set_list(**facts):
    with transaction() as session:
        session.execute(update(StatusList).values(facts))


def moved(value):
    """Another value of a number, or of a time or none."""
    if isinstance(value, int):
        return value + DAY
    return (value or datetime.now(UTC).replace(microsecond=0)) + timedelta(days=3)


def end_passes(row):
    """Let a license have ended an hour ago, though nobody moved its end."""
    set_license(row.id, expires_at=func.now() - timedelta(hours=1))
    set_license(row.id, end_shortened=False)


def let_time_pass(seconds=CHECK_SECONDS + 1):
    set_list(checked_at=func.now() - timedelta(seconds=seconds))


def test_license_that_is_as_its_key_says_is_not_listed(listed, row):
    head, entries = listed()
    assert (head["entries"], entries) == (0, {})


@pytest.mark.parametrize(
    ("status", "flags"),
    [(LicenseStatus.SUSPENDED, Flag.SUSPENDED), (LicenseStatus.REVOKED, Flag.REVOKED)],
)
def test_withdrawn_license_is_listed_until_its_keys_end(listed, row, status, flags):
    change(change_status, row.id, status)
    assert listed()[1] == {row.id.bytes: (flags, 0, 0)}
    end_passes(row)
    assert listed()[1] == {}


def test_status_of_another_version_is_not_valid(listed, row):
    with transaction() as session:
        session.execute(text("ALTER TABLE licenses DROP CONSTRAINT ck_licenses_status"))
        session.execute(text("UPDATE licenses SET status = 'frozen'"))
    try:
        assert listed()[1] == {row.id.bytes: (Flag.SUSPENDED, 0, 0)}
    finally:
        with transaction() as session:
            session.execute(text("DELETE FROM licenses"))
            session.execute(
                text(
                    "ALTER TABLE licenses ADD CONSTRAINT ck_licenses_status "
                    "CHECK (status IN ('active', 'suspended', 'revoked'))"
                )
            )


def test_restored_license_is_not_listed_any_more(listed, row):
    change(change_status, row.id, LicenseStatus.SUSPENDED)
    change(change_status, row.id, LicenseStatus.ACTIVE)
    assert listed()[1] == {}


@pytest.mark.parametrize("end", [datetime(2090, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), None])
def test_moved_end_is_listed_as_the_newest_key_has_it(listed, row, signer, end):
    changed = change(edit_license, row.id, {"expires_at": end})
    _, _, signed_end = EXAMPLE.read_key(signer.key_for(changed), signer.public_key)
    assert listed()[1] == {row.id.bytes: (Flag.END, 0, signed_end)}


@pytest.mark.parametrize("kind", [False, True], ids=["is not", "is"])
@pytest.mark.parametrize("column", [name for name, kind in COLUMNS.items() if kind in {int, datetime}])
def test_whatever_moves_the_end_of_a_key_is_listed(listed, row, signer, column, kind):
    """Also what a column to come does to it, in a license of each kind."""

    def end_of_key():
        with reading() as session:
            key = signer.key_for(session.get_one(License, row.id))
        return EXAMPLE.read_key(key, signer.public_key)[2]

    set_license(row.id, **{name: kind for name in COLUMNS if name.startswith("is_")})
    before = end_of_key()
    set_license(row.id, **{column: moved(getattr(row, column))})
    after = end_of_key()
    assert after != before or column != "expires_at"
    flags, _, end = listed()[1].get(row.id.bytes, (0, 0, 0))
    assert (bool(flags & Flag.END), end) == ((False, 0) if after == before else (True, after))


def test_extended_license_is_listed_until_its_new_end(listed, row):
    """After that every key of it has ended. One that was shortened stays, since an earlier key lasts longer."""
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    set_license(row.id, expires_at=later)
    assert len(listed()[1]) == 1
    end_passes(row)
    assert listed()[1] == {}
    set_license(row.id, expires_at=func.now() - timedelta(days=1))
    assert len(listed()[1]) == 1


def test_rotated_license_names_its_oldest_valid_key(listed, row, signer):
    old = signer.key_for(row)
    rotated = change(replace_key, row.id)
    head, entries = listed()
    assert entries == {row.id.bytes: (Flag.ROTATED, int(rotated.rotated_at.timestamp()), 0)}
    with reading() as session:
        _, body = last_body(session)
    for key, refusal in ((old, "withdrawn"), (signer.key_for(rotated), None)):
        read = EXAMPLE.read_key(key, signer.public_key)
        assert EXAMPLE.refusal(read, body, signer.public_key, (0, 0), head["issued_at"])[0] == refusal


def test_head_has_its_times_in_whole_seconds(listed):
    head, _ = listed(lifetime=timedelta(days=30))
    assert (head["version"], head["epoch"], head["sequence"]) == (1, 0, 1)
    assert head["expires_at"] - head["issued_at"] == 30 * DAY


def test_list_that_is_right_is_issued_once(refreshed, row):
    assert refreshed() == 1
    let_time_pass()
    assert refreshed() == 1
    with reading() as session:
        assert last_list(session).fresh


def test_change_of_a_license_makes_another_list(refreshed, row):
    first = refreshed()
    change(change_status, row.id, LicenseStatus.REVOKED)
    assert refreshed() == first  # compared a moment ago
    let_time_pass()
    assert refreshed() == first + 1
    with reading() as session:
        assert len(session.scalars(select(StatusList)).all()) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"issued_at": func.now() - RENEW_AFTER},
        {"issued_at": func.now() + timedelta(hours=1), "expires_at": func.now() + LIFETIME},
        {"expires_at": func.now() + timedelta(days=300)},
    ],
    ids=["a day old", "of a clock that was ahead", "of the command line, for longer"],
)
def test_list_is_issued_anew(refreshed, facts):
    refreshed()
    set_list(**facts, checked_at=None)
    assert refreshed() == 2


def test_clock_that_jumps_back_delays_no_list(refreshed):
    refreshed()
    set_list(checked_at=func.now() + timedelta(days=400))
    with reading() as session:
        assert not last_list(session).fresh


def test_lists_after_a_restore_are_newer(refreshed, listed):
    refreshed()
    with transaction() as session:
        assert declare_restore(session)
    with reading() as session:
        assert not last_list(session).fresh
    refreshed()
    head, _ = listed()
    assert (head["epoch"], head["sequence"]) == (1, 3)


def test_restore_is_noticed_before_a_list_is_issued(refreshed, listed, log_of):
    """What was restored counts again, so its lists need a higher epoch at once."""
    with transaction() as session:
        notice_restore(session)
    listed()
    lines = log_of("keysat.licenses.published")
    with transaction() as session:
        session.execute(update(Epoch).values(identity="of another database"))
    head, _ = listed()
    assert (head["epoch"], head["sequence"]) == (1, 2)
    assert [line["log_level"] for line in lines] == ["warning"]


def test_concurrent_requests_issue_one_list(refreshed, row):
    made, surprises = race(1, lambda *_: refreshed(), count=6)
    assert surprises == []
    assert set(made) == {1}
