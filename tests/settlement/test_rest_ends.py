"""What becomes of a credited rest when a payment goes back, a person decides, or that is undone."""

from contextlib import suppress
from functools import partial

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import NotPaid, RemoteUnavailable
from keysat.invoices.draft import IN_PROGRESS
from keysat.invoices.rest import current_of, excess_of, missing_of
from keysat.models import Invoice
from keysat.models.license import LicenseStatus
from keysat.providers.base import FoundInvoice
from keysat.sales.order import PurchaseInProgress
from keysat.settlement.by_hand import restore_and_issue
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import dismiss, settle_by_hand
from keysat.settlement.sweep_rows import partition
from keysat.tips.authorize import earned_by
from tests.builders import PRICE, check_invoice, issue_now, load_invoice, load_licenses, set_columns
from tests.rests import (
    PART,
    PART_OF_REST,
    REST,
    at_once,
    buy_in_three_parts,
    check_and_issue,
    open_rest,
    pay_twice,
    say,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

BY_REVIEW = SettlementRules(reversal="review")
ROUNDS = 6


def decide(decision, invoice):
    with transaction() as session:
        decision(session, invoice.id, "a person decided", "cli")


def restore(invoice, signer):
    restore_and_issue(DATABASE, invoice.id, "a mistake", lambda: signer.key_id, "cli")


def credits_of(*invoices):
    return [load_invoice(invoice.id).credited for invoice in invoices]


def is_excess(invoice):
    """Whether the money of a rest stands for nothing and waits for a person."""
    rest = load_invoice(invoice.id)
    return (rest.credited, rest.fulfilled, rest.in_review, rest.review_reason) == (None, False, True, "excess")


def read(function, invoice):
    with reading() as session:
        return function(session, session.get_one(Invoice, invoice.id))


def test_rest_of_a_purchase_that_is_dismissed_while_it_waits_is_reviewed(short, paid_rest):
    decide(dismiss, short)
    assert is_excess(paid_rest)
    assert load_invoice(short.id).rest_paid == 0


def test_rest_of_a_purchase_that_is_dismissed_without_a_license_is_reviewed(fake, short, paid_rest):
    check_invoice(short.id)
    say(fake, short, "invalid", rules=BY_REVIEW)
    decide(dismiss, short)
    assert is_excess(paid_rest)
    assert (load_invoice(short.id).reversed, load_invoice(short.id).rest_paid) == (True, 0)


def test_dismissed_refund_keeps_the_license_and_the_rest(fake, short, completed, paid_rest):
    assert say(fake, short, "refunded", rules=BY_REVIEW).in_review
    decide(dismiss, short)
    assert (load_invoice(short.id).rest_paid, credits_of(paid_rest)) == (REST, [REST])
    assert load_licenses()[0].status == LicenseStatus.ACTIVE


def test_purchase_settled_by_hand_is_kept_though_its_rest_goes_back(fake, short, paid_rest, signer):
    decide(settle_by_hand, short)
    issue_now(short.id, signer.key_id)
    assert say(fake, paid_rest, "invalid").reversed
    kept = load_invoice(short.id)
    assert (kept.reversed, kept.rest_paid, load_licenses()[0].status) == (False, 0, LicenseStatus.ACTIVE)


def test_rest_that_goes_back_while_the_purchase_waits_is_missing_again(fake, short, paid_rest):
    assert say(fake, paid_rest, "invalid").reversed
    assert missing_of(load_invoice(short.id)).amount == REST


def test_undone_reversal_needs_the_rest_again(fake, short, completed, paid_rest, signer):
    say(fake, short, "invalid")
    assert is_excess(paid_rest)
    restore(short, signer)
    rest = load_invoice(paid_rest.id)
    assert (rest.credited, rest.fulfilled, rest.in_review) == (REST, True, False)
    assert (load_invoice(short.id).rest_paid, load_licenses()[0].status) == (REST, LicenseStatus.ACTIVE)


def test_undone_reversal_leaves_money_beyond_the_price_to_a_person(fake, short, signer):
    rest = pay_twice(fake, short, signer)
    say(fake, short, "invalid")
    restore(short, signer)
    assert is_excess(rest)


def test_excess_that_goes_back_needs_no_person(fake, short, signer):
    rest = pay_twice(fake, short, signer)
    assert is_excess(rest)
    gone = say(fake, rest, "invalid")
    assert (gone.reversed, gone.in_review) == (True, False)
    assert read(excess_of, short) == 0
    assert not load_invoice(short.id).reversed


def test_rest_that_a_person_sent_back_does_not_count_again(fake, short, completed, paid_rest, signer):
    say(fake, short, "invalid")
    decide(dismiss, paid_rest)
    restore(short, signer)
    assert (load_invoice(paid_rest.id).reversed, load_invoice(short.id).rest_paid) == (True, 0)


def test_excess_that_a_person_kept_is_reviewed_again_once_the_purchase_is_reversed(fake, short, signer):
    rest = pay_twice(fake, short, signer)
    decide(settle_by_hand, rest)
    issue_now(rest.id, signer.key_id)
    assert credits_of(rest) == [REST]
    say(fake, short, "invalid")
    assert is_excess(rest)


def test_three_parts_are_taken_back_and_restored(fake, signer):
    first, second, third = buy_in_three_parts(fake, signer)
    assert (second.credited, third.credited) == (REST, REST - PART_OF_REST)
    say(fake, third, "invalid")
    assert all(load_invoice(part.id).reversed for part in (first, second, third))
    assert [load_invoice(part.id).rest_paid for part in (first, second)] == [0, 0]
    assert load_licenses()[0].status == LicenseStatus.SUSPENDED
    for part in (third, second, first):
        restore(part, signer)
    assert credits_of(first, second, third) == [None, REST, REST - PART_OF_REST]
    assert load_invoice(first.id).rest_paid == REST
    assert load_licenses()[0].status == LicenseStatus.ACTIVE


def test_middle_part_that_goes_back_leaves_the_last_to_a_person(fake, signer):
    first, second, third = buy_in_three_parts(fake, signer)
    say(fake, second, "refunded")
    assert is_excess(third)
    assert load_invoice(first.id).reversed
    restore(second, signer)
    assert credits_of(second, third) == [REST, REST - PART_OF_REST]


def test_sale_in_three_parts_earned_its_price(fake, signer):
    first, _, third = buy_in_three_parts(fake, signer)
    assert read(earned_by, first) == PRICE
    set_columns(third.id, settled_by_hand=True, paid_amount=None)
    assert read(earned_by, first) == PART + PART_OF_REST


def test_excess_in_two_parts_is_all_that_came_in(fake, short, signer):
    second = say(fake, open_rest(short.id), "expired", "partial", PART_OF_REST)
    third = say(fake, open_rest(second.id), "settled", paid=REST - PART_OF_REST)
    issue_now(third.id, signer.key_id)
    say(fake, short, "settled", paid=PRICE)
    check_and_issue(second, signer)
    assert is_excess(second)
    assert read(excess_of, short) == REST


def test_rest_whose_process_died_is_opened_by_the_next_request(fake, short):
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    with suppress(RemoteUnavailable):
        open_rest(short.id)
    fake.trouble = None
    draft = read(current_of, short)
    assert draft.is_draft
    with pytest.raises(PurchaseInProgress):
        open_rest(short.id)
    set_columns(draft.id, asked_at=func.now() - IN_PROGRESS)
    assert missing_of(read(current_of, short)).amount == REST
    opened = open_rest(short.id)
    assert (opened.id, opened.is_draft) == (draft.id, False)


def test_sweep_finds_the_purchase_that_its_rest_completed(fake, short, paid_rest):
    snapshot = fake.snapshots[short.provider_invoice_id]
    with reading() as session:
        row = session.get_one(Invoice, short.id)
        changed, _ = partition([row], [FoundInvoice(None, snapshot, None)], SettlementRules())
    assert changed == [short.id]


def test_parts_that_go_back_at_once_take_the_license_back_once(fake, signer):
    """No deadlock, and no credit is taken back twice."""
    for _ in range(ROUNDS):
        parts = buy_in_three_parts(fake, signer)
        at_once(*(partial(say, fake, part, "invalid") for part in parts))
        first, second, third = (load_invoice(part.id) for part in parts)
        assert first.reversed
        assert (first.rest_paid, second.rest_paid) == (0, 0)
        assert all(part.reversed or is_excess(part) for part in (second, third))
        assert load_licenses(first.id)[0].status == LicenseStatus.SUSPENDED
        with suppress(NotPaid):
            issue_now(third.id, signer.key_id)
        assert credits_of(first, second, third) == [None] * 3
