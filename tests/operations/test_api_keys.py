"""API keys: hashed at rest, found while they are valid, and never by similar text."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import reading, transaction
from keysat.core.errors import Conflict, InvalidInput, NotFound
from keysat.models import ApiKey
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key, find_key, note_use, revoke_key, rotate_key

pytestmark = pytest.mark.usefixtures("empty_database")


def made(name="shop", scope=Scope.READ):
    with transaction() as session:
        return create_key(session, name, scope, actor="cli")


def scope_of(key):
    with reading() as session:
        row = find_key(session, key)
        return row and row.scope


def test_key_is_found_by_itself_alone_and_kept_as_its_hash():
    key = made()
    assert scope_of(key) == Scope.READ
    for wrong in ("", key[:-1], key + "x", key.swapcase(), key.removeprefix("ksk_"), "\ud800"):
        assert scope_of(wrong) is None, wrong
    with reading() as session:
        assert key.encode() not in session.scalars(select(ApiKey.key_hash)).one()


def test_rotation_ends_the_old_key_after_the_overlap_never_later():
    first = made(scope=Scope.WRITE)
    with transaction() as session:
        second = rotate_key(session, "shop", timedelta(hours=1), actor="cli")
    assert (scope_of(first), scope_of(second)) == (Scope.WRITE, Scope.WRITE)
    with transaction() as session:
        third = rotate_key(session, "shop", timedelta(0), actor="cli")
    assert (scope_of(first), scope_of(second), scope_of(third)) == (None, None, Scope.WRITE)


def test_revoking_ends_all_keys_of_a_name_and_frees_it():
    first = made()
    with transaction() as session:
        second = rotate_key(session, "shop", timedelta(hours=1), actor="cli")
    with transaction() as session:
        revoke_key(session, "shop", actor="cli")
    assert (scope_of(first), scope_of(second)) == (None, None)
    assert scope_of(made()) == Scope.READ


def test_name_in_use_wrong_names_and_unknown_ones_are_refused():
    made()
    for wrong, error in (("shop", Conflict), ("Shop!", InvalidInput), ("", InvalidInput)):
        with pytest.raises(error), transaction() as session:
            create_key(session, wrong, Scope.READ, actor="cli")
    for change in (
        lambda session: revoke_key(session, "other", actor="cli"),
        lambda session: rotate_key(session, "other", timedelta(), actor="cli"),
    ):
        with pytest.raises(NotFound), transaction() as session:
            change(session)


def test_use_is_noted_to_the_minute():
    key = made()
    used = []
    for age in (None, timedelta(seconds=30), timedelta(minutes=2)):
        with transaction() as session:
            if age is not None:
                session.execute(update(ApiKey).values(last_used_at=func.now() - age))
            note_use(session, find_key(session, key))
        with reading() as session:
            used.append(session.scalar(select(func.now() - ApiKey.last_used_at)) < timedelta(seconds=20))
    assert used == [True, False, True]
