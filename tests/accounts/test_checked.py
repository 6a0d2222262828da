"""Accounts are added and changed once the provider accepts their credentials, alike for command line and API."""

import pytest

from keysat.accounts.checked import check_account, check_and_add, check_and_edit, check_and_renew
from keysat.accounts.manage import NewAccount, find_account
from keysat.core.db import DATABASE, reading
from keysat.core.errors import CredentialsRejected, NotFound
from keysat.core.secrets import secret_box, unseal
from tests.builders import FAKE_URL, STORE, audit_actions, load_account, make_account, set_account

pytestmark = pytest.mark.usefixtures("empty_database")

NEW = NewAccount("main", "fake", "key-of-test-store", FAKE_URL, STORE)


@pytest.fixture
def box(settings):
    return secret_box(settings)


@pytest.fixture
def refusing(fake):
    fake.trouble = CredentialsRejected("no (401)")
    return fake


def key_of(box):
    return unseal(box, load_account().sealed_credentials, "account main")["api_key"]


def test_account_is_added_once_its_key_is_accepted(fake, box):
    account = check_and_add(DATABASE, box, NEW, "tests")
    assert (account.name, account.selling_rank) == ("main", 1)
    assert "provider.added" in audit_actions(account.id)


def test_account_whose_key_is_refused_is_not_added(refusing, box):
    with pytest.raises(CredentialsRejected):
        check_and_add(DATABASE, box, NEW, "tests")
    with reading() as session:
        assert find_account(session, "main") is None
    assert check_and_add(DATABASE, box, NEW, "tests", unchecked=True).name == "main"


def test_refused_change_leaves_the_account_as_it_was(refusing, box):
    make_account()
    changes = {"name": "other", "store_id": "elsewhere"}
    with pytest.raises(CredentialsRejected):
        check_and_edit(DATABASE, "main", changes, "tests")
    assert load_account().store_id == STORE
    changed = check_and_edit(DATABASE, "main", changes, "tests", unchecked=True)
    assert (changed.name, changed.store_id) == ("other", "elsewhere")


def test_refused_credentials_replace_nothing_and_accepted_ones_resume(refusing, box):
    make_account(api_key="old")
    set_account(paused_at="2026-01-01T00:00:00Z", pause_reason="by hand")
    with pytest.raises(CredentialsRejected):
        check_and_renew(DATABASE, box, "main", "new", "", "tests")
    assert (key_of(box), load_account().pause_reason) == ("old", "by hand")
    refusing.trouble, refusing.api_keys[STORE] = None, "new"
    check_and_renew(DATABASE, box, "main", "new", "", "tests")
    assert (key_of(box), load_account().paused_at) == ("new", None)


def test_stored_account_is_checked_by_its_name(refusing):
    make_account()
    with pytest.raises(CredentialsRejected):
        check_account(DATABASE, "main")
    refusing.trouble = None
    assert check_account(DATABASE, "main").name == "main"
    with pytest.raises(NotFound):
        check_account(DATABASE, "other")
