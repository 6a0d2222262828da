"""The invoice of a renewal: on the terms of the subscription, one at a time, and never a dead link."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from keysat.catalog.changes import change_policy, change_product
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, NotFound, RemoteRefused, RemoteUnavailable, SalesUnavailable
from keysat.core.money import Money
from keysat.invoices.draft import IN_PROGRESS
from keysat.licenses.edit import edit_license, transfer_license
from keysat.licenses.withdraw import change_status
from keysat.models import Invoice
from keysat.models.discount_code import CodeKind
from keysat.models.license import LicenseStatus
from keysat.operations.details import read_details
from keysat.sales.grant import grant
from keysat.sales.order import Order, PurchaseInProgress
from keysat.sales.renew import price_of_renewal, renew
from keysat.subscriptions.terms import cancel_subscription
from tests.builders import (
    PRICE,
    audit_actions,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_catalog,
    open_invoice,
    set_account,
    set_columns,
)
from tests.renewals import (
    DAY,
    GRACE,
    PERIOD,
    RECURRING,
    let_end,
    load_extensions,
    load_license,
    load_subscription,
    open_renewal,
    page_of,
    pay,
    sell_recurring,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


def renewals():
    """All invoices of renewals."""
    with reading() as session:
        wanted = select(Invoice).where(Invoice.target_license_id.is_not(None)).order_by(Invoice.created_at)
        return list(session.scalars(wanted))


def payable(row):
    with reading() as session:
        return price_of_renewal(session, load_license(row.id))


def test_renewal_is_charged_on_the_terms_of_the_purchase(fake, sold):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"price_amount": 5 * PRICE, "duration_seconds": 60}, "cli")
    renewal = open_renewal(sold.id)
    assert (renewal.amount, renewal.currency, renewal.base_amount) == (PRICE, "BTC", PRICE)
    assert (renewal.provider_account_id, renewal.buyer_email) == (load_account().id, "buyer@example.com")
    assert load_subscription(sold.id).period_seconds == PERIOD.total_seconds()
    wanted = fake.wanted[-1]
    assert (wanted.redirect_url, wanted.policy_id) == (page_of(renewal.id), None)
    assert audit_actions(renewal.id) == ["invoice.renewal_opened"]


def test_archived_policy_and_product_are_renewed_all_the_same(fake, sold, signer):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"archived": True}, "cli")
        change_product(session, "editor", {"archived": True}, "cli")
    pay(fake, open_renewal(sold.id), signer)
    assert load_license(sold.id).expires_at == sold.expires_at + PERIOD


def test_open_renewal_is_returned_while_it_can_be_paid(fake, sold):
    first = open_renewal(sold.id)
    assert open_renewal(sold.id).id == first.id
    assert len(fake.wanted) == 2  # the purchase and one renewal


@pytest.mark.parametrize("over", [{"expires_at": func.now()}, {"status": "expired"}, {"status": "invalid"}])
def test_renewal_that_is_over_leads_to_a_fresh_one(sold, over):
    first = open_renewal(sold.id)
    set_columns(first.id, **over)
    second = open_renewal(sold.id)
    assert second.id != first.id
    assert second.checkout_url != first.checkout_url


def test_renewal_that_is_being_paid_is_not_opened_again(sold):
    first = open_renewal(sold.id)
    set_columns(first.id, expires_at=func.now(), payment_seen_at=func.now())
    assert open_renewal(sold.id).id == first.id


def test_many_requests_at_once_open_one_invoice(sold):
    start = Barrier(8)

    def request(_):
        start.wait(timeout=60)
        try:
            return renew(DATABASE, sold.id, "page", page_of)
        except PurchaseInProgress:
            return None

    with ThreadPoolExecutor(8) as pool:
        opened = {found for found in pool.map(request, range(8)) if found is not None}
    assert len(opened) == 1
    assert len(renewals()) == 1


def test_license_paid_for_ahead_is_renewed_later(fake, sold, signer):
    pay(fake, open_renewal(sold.id), signer)
    assert payable(sold) is None
    with pytest.raises(Conflict, match="paid for more than a period ahead"):
        open_renewal(sold.id)
    let_end(sold, -PERIOD + DAY)
    assert payable(sold) == Money(PRICE, "BTC")


def test_lapsed_license_can_be_renewed(sold):
    let_end(sold, GRACE + 300 * DAY)
    assert open_renewal(sold.id).amount == PRICE


@pytest.mark.parametrize("status", [LicenseStatus.SUSPENDED, LicenseStatus.REVOKED])
def test_withdrawn_license_is_not_renewed(sold, status):
    with transaction() as session:
        change_status(session, sold.id, status, "cli", "abuse")
    with pytest.raises(Conflict, match=f"is {status}"):
        open_renewal(sold.id)
    assert payable(sold) is None


def test_license_without_an_end_is_not_renewed(sold):
    with transaction() as session:
        edit_license(session, sold.id, {"expires_at": None}, "cli", "a gift")
    with pytest.raises(Conflict, match="has no end"):
        open_renewal(sold.id)


def test_unknown_license_is_not_found():
    with pytest.raises(NotFound, match="no license"):
        open_renewal(uuid4())


def test_new_holder_pays_the_renewal(sold):
    with transaction() as session:
        transfer_license(session, sold.id, "new@example.com", "cli", "sold on")
    assert open_renewal(sold.id).buyer_email == "new@example.com"


def test_account_that_cannot_sell_refuses_and_stores_nothing(sold):
    set_account(paused_at=func.now(), pause_reason="by hand")
    with pytest.raises(SalesUnavailable):
        open_renewal(sold.id)
    assert renewals() == []


def test_refused_renewal_is_closed_and_the_next_request_opens_another(fake, sold):
    fake.trouble = RemoteRefused("no")
    with pytest.raises(RemoteRefused):
        open_renewal(sold.id)
    assert renewals()[0].status == "invalid"
    fake.trouble = None
    assert open_renewal(sold.id).status == "pending"


def test_interrupted_renewal_is_taken_up(fake, sold):
    fake.trouble = RemoteUnavailable("cut")
    with pytest.raises(RemoteUnavailable):
        open_renewal(sold.id)
    fake.trouble = None
    set_account(create_failure_count=0, create_open_until=None)
    [draft] = renewals()
    with pytest.raises(Conflict, match="in progress"):
        open_renewal(sold.id)
    set_columns(draft.id, asked_at=func.now() - IN_PROGRESS)
    assert open_renewal(sold.id).id == draft.id
    assert load_invoice(draft.id).checkout_url is not None


def test_free_renewal_extends_at_once(signer):
    make_account()
    make_catalog("notes", Money(0, "BTC"), RECURRING)
    with transaction() as session:
        row = grant(session, "notes", None, "for the tests", signer.key_id, "cli")
    opened = open_renewal(row.id)
    assert (opened.status, opened.fulfilled, opened.checkout_url) == ("settled", True, None)
    assert load_license(row.id).expires_at == row.expires_at + PERIOD
    assert len(load_extensions()) == 1


def test_paid_renewal_takes_up_a_cancelled_subscription(fake, sold, signer):
    with transaction() as session:
        assert cancel_subscription(session, sold.id, "holder")
        assert not cancel_subscription(session, sold.id, "holder")
    assert load_subscription(sold.id).cancelled
    assert load_license(sold.id).expires_at == sold.expires_at
    pay(fake, open_renewal(sold.id), signer)
    assert not load_subscription(sold.id).cancelled
    assert len(load_licenses()) == 1


@pytest.mark.parametrize("currency", ["BTC", "EUR"])
def test_discount_counts_for_the_first_period_only(fake, signer, currency):
    make_account()
    make_catalog(price=Money(PRICE, currency), terms=RECURRING)
    with transaction() as session:
        add_code(session, NewCode("HALF", CodeKind.PERCENT, 5_000), actor="cli")
    bought = pay(fake, load_invoice(open_invoice(Order("editor", code="half"))), signer)
    [row] = load_licenses(bought.id)
    assert (bought.amount, open_renewal(row.id).amount) == (PRICE // 2, PRICE)


def test_renewal_is_shown_with_the_license_that_it_renews(fake, sold, signer):
    renewal = pay(fake, open_renewal(sold.id), signer)
    with reading() as session:
        details = read_details(session, renewal)
    assert (details.license.id, details.why.state) == (sold.id, "licensed")
    assert "license.renewed" in [moment.action for moment in timeline_of(sold)]


def timeline_of(row):
    with reading() as session:
        return read_details(session, session.get_one(Invoice, row.invoice_id)).timeline
