"""Money of an invoice that closes is never passed over: a person sees it, and a later confirmation settles it."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.models import AuditLine, Redemption
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import PaymentException
from keysat.operations.report import report
from keysat.providers.base import ProviderStatus
from keysat.sales.purchase import Order
from keysat.settlement.resolve import dismiss
from tests.builders import (
    PRICE,
    check_invoice,
    issue_now,
    load_invoice,
    load_licenses,
    make_shop,
    open_invoice,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

HALF = PRICE // 2
LONG_AGO = {"created_at": func.now() - timedelta(days=31)}
YESTERDAY = func.now() - timedelta(days=1, minutes=1)


@pytest.fixture
def half_price_invoice(fake):
    """An invoice at half the price, by a code with one slot."""
    make_shop()
    with transaction() as session:
        add_code(session, NewCode("HALF", CodeKind.PERCENT, 5_000, max_uses=1), actor="cli")
    return load_invoice(open_invoice(Order("editor", code="half")))


@pytest.fixture
def hears(fake, half_price_invoice):
    """Sets the provider's status, then checks. Returns the invoice afterwards."""

    def hear(status, exception="none", paid=0):
        fake.say(half_price_invoice.provider_invoice_id, ProviderStatus(status), PaymentException(exception), paid)
        check_invoice(half_price_invoice.id)
        return load_invoice(half_price_invoice.id)

    return hear


def slot():
    with reading() as session:
        return session.scalars(select(Redemption.status)).one()


def under_review():
    with reading() as session:
        day = session.scalars(select(func.now())).one().date()
        return sum(line.under_review for line in report(session, day - timedelta(days=1), day))


@pytest.mark.parametrize("status", ["invalid", "expired"])
def test_full_payment_that_never_confirmed_is_reviewed_with_its_amount(hears, status):
    hears("processing", paid=HALF)
    closed = hears(status, paid=HALF)
    assert (closed.in_review, closed.review_reason, closed.paid_amount) == (True, "unconfirmed", HALF)
    assert slot() == "reserved"
    assert under_review() == HALF


def test_money_that_was_only_seen_before_is_reviewed(hears):
    hears("processing")
    closed = hears("invalid")
    assert (closed.in_review, closed.review_reason) == (True, "unconfirmed")
    assert slot() == "reserved"


def test_confirmation_after_all_settles_and_ends_the_review(hears, signer):
    hears("processing", paid=HALF)
    hears("invalid", paid=HALF)
    settled = hears("settled", paid=HALF)
    assert (settled.status, settled.in_review) == ("settled", False)
    issue_now(settled.id, signer.key_id)
    assert len(load_licenses(settled.id)) == 1
    assert slot() == "redeemed"


def test_invalid_part_payment(hears, half_price_invoice):
    """It is underpaid, and more money raises another review."""
    assert hears("invalid", paid=100).review_reason == "underpaid"
    with transaction() as session:
        dismiss(session, half_price_invoice.id, "too little to care for", "cli")
    assert not hears("invalid", paid=100).in_review
    assert hears("invalid", paid=HALF).review_reason == "unconfirmed"
    assert under_review() == HALF


def test_last_check_never_calls_a_full_payment_underpaid(hears, half_price_invoice):
    hears("processing", paid=HALF)
    set_columns(half_price_invoice.id, **LONG_AGO, final_check_at=YESTERDAY)
    ended = hears("processing", paid=HALF)
    assert (ended.next_check_at, ended.review_reason) == (None, "unconfirmed")
    assert slot() == "reserved"


def test_invoice_that_is_gone_with_money_on_it_is_reviewed(fake, hears, half_price_invoice):
    hears("processing", paid=HALF)
    del fake.snapshots[half_price_invoice.provider_invoice_id]
    set_columns(half_price_invoice.id, **LONG_AGO, final_check_at=YESTERDAY)
    check_invoice(half_price_invoice.id)
    gone = load_invoice(half_price_invoice.id)
    assert (gone.in_review, gone.review_reason, gone.next_check_at) == (True, "unconfirmed", None)
    assert slot() == "reserved"
    with reading() as session:
        assert "invoice.gone" in session.scalars(select(AuditLine.action)).all()


def test_unpaid_invoice_closes_and_frees_its_slot(hears):
    closed = hears("invalid")
    assert (closed.status, closed.in_review, slot()) == ("invalid", False, "cancelled")


def test_merchant_who_marks_an_expired_invoice_has_decided(fake, hears, half_price_invoice):
    hears("expired")
    fake.say(half_price_invoice.provider_invoice_id, ProviderStatus.SETTLED, PaymentException.MARKED, 0)
    assert check_invoice(half_price_invoice.id).outcome.action == "settle"
