"""The backlog counts invoices that are due, late, in review, failing, or no longer checked."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.invoices.backlog import read_backlog
from keysat.models import Invoice
from tests.builders import issue_now, make_account, make_due, make_invoice, make_shop, set_account, set_columns

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def backlog():
    with reading() as session:
        return read_backlog(session)


def matching(condition):
    with reading() as session:
        return list(session.scalars(select(Invoice.id).where(condition)))


def test_empty_shop_owes_nothing():
    numbers = backlog()
    assert (numbers.pending, numbers.due, numbers.late, numbers.review) == (0, 0, 0, 0)
    assert (numbers.unfulfilled, numbers.failing, numbers.abandoned) == (0, 0, 0)
    assert numbers.oldest_due_at is None
    assert numbers.accounts == ()
    assert not numbers.trouble


def test_new_invoice_is_pending_and_not_yet_due():
    make_invoice()
    assert (backlog().pending, backlog().due) == (1, 0)
    assert not backlog().trouble


def test_due_invoice_is_counted_and_late_after_two_minutes():
    fresh, old = make_invoice(), make_invoice()
    make_due(fresh.id, timedelta(seconds=110))
    assert (backlog().due, backlog().late, backlog().trouble) == (1, 0, False)
    make_due(old.id, timedelta(seconds=130))
    assert (backlog().due, backlog().late, backlog().trouble) == (2, 1, True)


def test_backlog_oldest_due_time():
    make_due(make_invoice().id, timedelta(minutes=1))
    make_due(make_invoice().id, timedelta(hours=1))
    with reading() as session:
        age = session.scalar(select(func.now())) - backlog().oldest_due_at
    assert timedelta(hours=1) <= age < timedelta(hours=1, minutes=1)


def test_settled_invoice_is_unfulfilled_until_its_license_is_issued(signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    assert (backlog().unfulfilled, backlog().pending) == (1, 0)
    issue_now(invoice.id, signer.key_id)
    assert backlog().unfulfilled == 0


def test_review_waits_until_it_is_resolved():
    invoice = make_invoice(review_reason="underpaid", review_opened_at=func.now())
    assert (backlog().review, backlog().trouble) == (1, True)
    assert matching(Invoice.in_review) == [invoice.id]
    set_columns(invoice.id, review_resolved_at=func.now())
    assert (backlog().review, backlog().trouble) == (0, False)
    assert matching(Invoice.in_review) == []


def test_review_of_an_invoice_that_is_no_longer_watched_still_counts():
    make_invoice(review_reason="underpaid", review_opened_at=func.now(), next_check_at=None)
    assert backlog().review == 1


def test_failing_invoices_are_counted():
    make_invoice(error_count=2, last_error="it is down")
    make_invoice()
    assert backlog().failing == 1


def test_unpaid_invoice_that_is_no_longer_watched_is_abandoned(signer):
    invoice = make_invoice(status="expired", next_check_at=None)
    paid = make_invoice(status="settled", settled_at=func.now())
    issue_now(paid.id, signer.key_id)
    assert backlog().abandoned == 1
    assert matching(Invoice.abandoned) == [invoice.id]


def test_backlog_of_each_account():
    make_shop()
    make_account("other")
    make_due(make_invoice().id)
    make_invoice(account="other")
    set_account("other", failure_count=2, last_error="it is down")
    main, second = backlog().accounts
    assert (main.name, main.kind, main.due, main.failure_count) == ("main", "fake", 1, 0)
    assert (second.name, second.due, second.failure_count, second.last_error) == ("other", 0, 2, "it is down")
    assert not backlog().trouble


def test_due_license_is_not_its_accounts_backlog():
    invoice = make_invoice(status="settled", settled_at=func.now())
    make_due(invoice.id)
    assert backlog().accounts[0].due == 0
    assert backlog().due == 1


def test_paused_account_is_a_failure():
    make_shop()
    set_account(paused_at=func.now(), pause_reason="by hand")
    assert backlog().trouble
    assert backlog().accounts[0].pause_reason == "by hand"


def test_open_breaker_is_a_failure_until_it_ends():
    make_shop()
    set_account(failure_count=5, open_until=func.now() + timedelta(minutes=1))
    assert backlog().trouble
    assert backlog().accounts[0].open_until is not None
    set_account(failure_count=5, open_until=func.now() - timedelta(minutes=1))
    assert backlog().accounts[0].open_until is None
    assert not backlog().trouble
