"""Webhooks that fall silent are noticed: by status, doctor and the log, each with the remedy."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from keysat.db import reading
from keysat.providers.silence import silent_accounts
from tests.builders import make_account, make_invoice, make_shop, set_account

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def minutes(number):
    return func.now() - timedelta(minutes=number)


def settle(count, ago, **facts):
    for _ in range(count):
        make_invoice(status="settled", settled_at=minutes(ago), fulfilled_at=minutes(ago), next_check_at=None, **facts)


def silent():
    with reading() as session:
        return [(one.account, one.settled) for one in silent_accounts(session)]


def test_three_invoices_settled_since_the_last_webhook_are_silence():
    make_shop()
    set_account(last_event_at=minutes(30))
    settle(2, 10)
    assert silent() == []
    settle(1, 10)
    assert silent() == [("main", 3)]


def test_webhook_that_comes_ends_it():
    make_shop()
    settle(3, 10)
    set_account(last_event_at=minutes(30))
    assert silent()
    set_account(last_event_at=minutes(9))
    assert silent() == []


def test_account_that_was_never_connected_is_expected_to_be_silent():
    make_shop()
    settle(5, 10)
    assert silent() == []


def test_connected_account_that_never_sent_any_is_silent():
    make_shop()
    set_account(webhook_connected_at=minutes(60))
    settle(3, 10)
    assert silent() == [("main", 3)]


@pytest.mark.parametrize(
    ("ago", "facts"),
    [(0, {}), (29.5, {}), (60 * 25, {}), (10, {"settled_by_hand": True})],
    ids=["just now", "as the last webhook came", "yesterday", "by hand"],
)
def test_what_says_nothing_of_webhooks_is_not_counted(ago, facts):
    make_shop()
    set_account(last_event_at=minutes(30) if ago < 60 else minutes(60 * 48))
    settle(5, ago, **facts)
    assert silent() == []


def test_each_account_is_judged_by_its_own(fake):
    make_shop()
    make_account("quiet", store_id="quiet-store")
    fake.api_keys["quiet-store"] = "key-of-test-store"
    for name in ("main", "quiet"):
        set_account(name, last_event_at=minutes(30))
    for _ in range(3):
        make_invoice("quiet", status="settled", settled_at=minutes(5))
    assert silent() == [("quiet", 3)]
