"""The rest of a short payment: a second invoice for what is missing settles the first one."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, NotPaid
from keysat.invoices.rest import current_of, missing_of
from keysat.models import Invoice
from keysat.models.invoice_status import PaymentException
from keysat.models.license import LicenseStatus
from keysat.operations.report import report, totals
from keysat.providers.base import ProviderStatus
from keysat.settlement.by_hand import restore_and_issue
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import dismiss, settle_by_hand
from tests.builders import PRICE, audit_actions, check_invoice, issue_now, load_invoice, load_licenses, make_invoice
from tests.rests import PART, REST, at_once, check_and_issue, open_rest, page_of, pay_twice, say

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

ROUNDS = 25


def test_rest_charges_what_is_missing_and_returns_to_the_purchase(fake, short):
    rest = open_rest(short.id)
    assert (rest.amount, rest.rest_of_id, rest.buyer_email) == (REST, short.id, short.buyer_email)
    wanted = fake.wanted[-1]
    assert (wanted.redirect_url, wanted.policy_id) == (page_of(short.id), None)


def test_rest_is_opened_once_however_often_it_is_asked_for(short):
    assert open_rest(short.id).id == open_rest(short.id).id


def test_expired_rest_is_followed_by_another(fake, short):
    rest = say(fake, open_rest(short.id), "expired")
    assert open_rest(short.id).id != rest.id


def test_nothing_more_can_be_paid_for_an_invoice_that_is_not_short():
    with pytest.raises(Conflict):
        open_rest(make_invoice().id)


def test_both_payments_together_make_one_license(short, completed, paid_rest):
    assert (completed.status, completed.exception, completed.in_review) == ("settled", "partial", False)
    [row] = load_licenses()
    assert row.invoice_id == short.id
    assert (completed.paid_amount, completed.rest_paid) == (PART, REST)
    assert "invoice.rest_paid" in audit_actions(short.id)
    assert paid_rest.fulfilled


def test_rest_alone_gets_no_license(paid_rest, signer):
    assert issue_now(paid_rest.id, signer.key_id) is None
    assert load_licenses() == []


def test_rest_is_credited_once(short, paid_rest, signer):
    issue_now(paid_rest.id, signer.key_id)
    assert load_invoice(short.id).rest_paid == REST


def test_first_payment_that_is_not_confirmed_waits(fake, short, paid_rest):
    fake.snapshots[short.provider_invoice_id] = replace(fake.snapshots[short.provider_invoice_id], unconfirmed=True)
    check_invoice(short.id)
    assert load_invoice(short.id).status == "expired"
    fake.snapshots[short.provider_invoice_id] = replace(fake.snapshots[short.provider_invoice_id], unconfirmed=False)
    check_invoice(short.id)
    assert load_invoice(short.id).status == "settled"


def test_first_payment_that_vanished_is_reviewed(fake, short, paid_rest):
    now = say(fake, short, "expired", "none", 0)
    assert (now.status, now.in_review) == ("expired", True)


def test_settled_invoice_raises_no_alarm_for_the_provider_calls_it_underpaid(short, completed):
    check_invoice(short.id)
    assert load_invoice(short.id).last_error is None


def test_more_money_for_the_first_invoice_is_over(fake, short, paid_rest):
    now = say(fake, short, "expired", "partial", PART + 1)
    assert (now.status, now.exception) == ("settled", "over")


def test_rest_that_nobody_needs_any_more_is_reviewed(fake, short, signer):
    rest = pay_twice(fake, short, signer)
    assert (rest.review_reason, rest.in_review, rest.fulfilled) == ("excess", True, False)
    with pytest.raises(NotPaid):
        issue_now(rest.id, signer.key_id)
    assert len(load_licenses()) == 1
    with transaction() as session:
        dismiss(session, rest.id, "sent back", "cli")
    assert not load_invoice(rest.id).in_review


def test_rest_of_a_payment_that_a_person_sent_back_is_reviewed(fake, short, signer):
    rest = open_rest(short.id)
    with transaction() as session:
        dismiss(session, short.id, "sent back", "cli")
    rest = say(fake, rest, "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    check_invoice(short.id)
    assert load_invoice(rest.id).review_reason == "excess"
    assert (load_invoice(short.id).status, load_licenses()) == ("expired", [])


def test_person_may_keep_a_rest_that_nobody_needs(fake, short, signer):
    rest = open_rest(short.id)
    say(fake, short, "settled", paid=PRICE)
    rest = say(fake, rest, "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    with transaction() as session:
        settle_by_hand(session, rest.id, "the buyer gives it", "cli")
    issue_now(rest.id, signer.key_id)
    assert load_invoice(rest.id).fulfilled


def test_short_rest_has_a_rest_of_its_own(fake, short, signer):
    rest = say(fake, open_rest(short.id), "expired", "partial", 5_000)
    with reading() as session:
        current = current_of(session, session.get_one(Invoice, short.id))
    assert current.id == rest.id
    assert missing_of(current).amount == REST - 5_000
    last = say(fake, open_rest(rest.id), "settled", paid=REST - 5_000)
    for invoice in (last, rest, short):
        check_and_issue(invoice, signer)
    assert [row.invoice_id for row in load_licenses()] == [short.id]


def test_rest_that_went_back_withdraws_the_license(fake, short, completed, paid_rest):
    rest = say(fake, paid_rest, "invalid")
    first = load_invoice(short.id)
    assert rest.reversed
    assert (first.reversed, first.rest_paid) == (True, 0)
    assert load_licenses()[0].status == LicenseStatus.SUSPENDED


def test_first_payment_that_went_back_leaves_the_rest_to_a_person(fake, short, completed, paid_rest):
    say(fake, short, "invalid")
    rest = load_invoice(paid_rest.id)
    assert (rest.review_reason, rest.in_review) == ("excess", True)
    assert load_licenses()[0].status == LicenseStatus.SUSPENDED


def test_restored_rest_counts_again(fake, short, completed, paid_rest, signer):
    say(fake, paid_rest, "invalid")
    restore_and_issue(DATABASE, paid_rest.id, "a mistake", lambda: signer.key_id, "cli")
    restore_and_issue(DATABASE, short.id, "a mistake", lambda: signer.key_id, "cli")
    assert load_invoice(short.id).rest_paid == REST
    assert load_licenses()[0].status == LicenseStatus.ACTIVE


def test_rest_settled_by_hand_completes_the_purchase(short, signer):
    rest = open_rest(short.id)
    with transaction() as session:
        settle_by_hand(session, rest.id, "a gift", "cli")
    for invoice in (rest, short):
        issue_now(invoice.id, signer.key_id) if invoice is rest else check_and_issue(invoice, signer)
    assert len(load_licenses()) == 1


def test_report_counts_one_sale_and_all_the_money(completed):
    with reading() as session:
        day = session.scalars(select(func.now())).one().date()
        [total] = totals(report(session, day - timedelta(days=1), day))
    assert (total.sales, total.settled, total.under_review) == (1, PRICE, 0)


def test_tolerance_counts_for_the_whole_price(fake, short, signer):
    rest = open_rest(short.id)
    fake.say(rest.provider_invoice_id, ProviderStatus.SETTLED, PaymentException.NONE, REST - 100)
    rules = SettlementRules(tolerance_bps=100)
    check_invoice(rest.id, rules)
    issue_now(rest.id, signer.key_id)
    check_invoice(short.id, rules)
    assert load_invoice(short.id).status == "settled"


def test_rest_and_late_money_at_once_make_one_license(fake, signer):
    """Either the rest completes the purchase, or it is reviewed. No money is passed over."""
    for _ in range(ROUNDS):
        invoice = say(fake, make_invoice(), "expired", "partial", PART)
        rest = say(fake, open_rest(invoice.id), "settled", paid=REST)
        fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, PaymentException.NONE, PRICE)
        at_once(
            partial(issue_if_paid, rest.id, signer.key_id),
            partial(issue_after, invoice.id, signer.key_id),
        )
        issue_after(invoice.id, signer.key_id)
        rest, invoice = load_invoice(rest.id), load_invoice(invoice.id)
        assert len(load_licenses(invoice.id)) == 1
        assert (invoice.rest_paid, invoice.exception, rest.in_review) in {(REST, "over", False), (0, "late", True)}


def issue_after(invoice_id, signer_id):
    check_invoice(invoice_id)
    issue_if_paid(invoice_id, signer_id)


def issue_if_paid(invoice_id, signer_id):
    with suppress(NotPaid):
        issue_now(invoice_id, signer_id)
