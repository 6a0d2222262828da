"""A code's slots through the life of an invoice: reserved, redeemed, freed, reserved again, with the right counter."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.codes.manage import NewCode, add_code, disable_code
from keysat.codes.pricing import NotApplicable
from keysat.codes.reserve import CodeUsedUp
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput, NotFound, RemoteRefused
from keysat.models import DiscountCode, Invoice, Redemption
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.sales.purchase import Order
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import dismiss
from tests.builders import (
    check_invoice,
    issue_now,
    load_invoice,
    load_licenses,
    make_catalog,
    make_shop,
    open_invoice,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database")

PENDING, PROCESSING, SETTLED = ProviderStatus.PENDING, ProviderStatus.PROCESSING, ProviderStatus.SETTLED
EXPIRED, INVALID, REFUNDED = ProviderStatus.EXPIRED, ProviderStatus.INVALID, ProviderStatus.REFUNDED
HALF = 10_500


@pytest.fixture
def code_shop(fake):
    """A shop with the code ONCE, which has one slot."""
    make_shop()
    add("ONCE", max_uses=1)
    return fake


def add(code, kind=CodeKind.PERCENT, amount=5_000, **facts):
    with transaction() as session:
        return add_code(session, NewCode(code, kind, amount, **facts), actor="cli")


def buy(code="once", **facts):
    return load_invoice(open_invoice(Order("editor", code=code, **facts)))


def say(shop, invoice, status, exception=PaymentException.NONE, paid=None):
    shop.say(invoice.provider_invoice_id, status, exception, paid)
    return check_invoice(invoice.id).outcome


def redemption(invoice):
    with reading() as session:
        status = session.scalar(select(Redemption.status).where(Redemption.invoice_id == invoice.id))
        uses = session.scalar(select(DiscountCode.uses).where(DiscountCode.code == "ONCE"))
    return status, uses


def test_purchase_takes_the_slot_and_the_discount(code_shop):
    invoice = buy()
    assert (invoice.base_amount, invoice.amount) == (21_000, HALF)
    assert code_shop.snapshots[invoice.provider_invoice_id].charged.amount == HALF
    assert redemption(invoice) == ("reserved", 1)


def test_second_buyer_is_refused_and_leaves_nothing_behind(code_shop):
    buy()
    asked = code_shop.requests
    with pytest.raises(CodeUsedUp, match=r"^code ONCE is used up\.$"):
        buy()
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 1
    assert code_shop.requests == asked


def test_license_redeems_it(code_shop, signer):
    invoice = buy()
    say(code_shop, invoice, SETTLED, paid=HALF)
    assert redemption(invoice) == ("reserved", 1)
    issue_now(invoice.id, signer.key_id)
    issue_now(invoice.id, signer.key_id)
    assert redemption(invoice) == ("redeemed", 1)


@pytest.mark.parametrize("end", [EXPIRED, INVALID])
def test_end_without_payment_frees_it_once(code_shop, end):
    invoice = buy()
    say(code_shop, invoice, end)
    assert redemption(invoice) == ("cancelled", 0)
    say(code_shop, invoice, INVALID)
    assert redemption(invoice) == ("cancelled", 0)
    assert redemption(buy()) == ("reserved", 1)


def test_payment_that_is_processing_keeps_it(code_shop):
    invoice = buy()
    say(code_shop, invoice, PROCESSING, paid=HALF)
    assert redemption(invoice) == ("reserved", 1)


def test_part_payment_keeps_it_until_a_person_dismisses_it(code_shop):
    invoice = buy()
    say(code_shop, invoice, EXPIRED, PaymentException.PARTIAL, paid=1)
    assert redemption(invoice) == ("reserved", 1)
    with transaction() as session:
        dismiss(session, invoice.id, "refunded by hand", "cli")
    assert redemption(invoice) == ("cancelled", 0)


def test_buyer_who_pays_late_takes_a_free_slot_again(code_shop, signer):
    invoice = buy()
    say(code_shop, invoice, EXPIRED)
    say(code_shop, invoice, EXPIRED, PaymentException.LATE, paid=HALF)
    issue_now(invoice.id, signer.key_id)
    assert redemption(invoice) == ("redeemed", 1)


def test_buyer_who_pays_late_gets_the_license_even_where_no_slot_is_left(code_shop, signer):
    late = buy()
    say(code_shop, late, EXPIRED)
    second = buy()
    say(code_shop, late, EXPIRED, PaymentException.LATE, paid=HALF)
    issue_now(late.id, signer.key_id)
    assert len(load_licenses(late.id)) == 1
    assert redemption(late) == ("excess", 1)
    assert redemption(second) == ("reserved", 1)


@pytest.mark.parametrize("gone", [REFUNDED, INVALID])
def test_reversal_before_the_license_frees_it_and_after_it_does_not(code_shop, signer, gone):
    early = buy()
    say(code_shop, early, SETTLED, paid=HALF)
    say(code_shop, early, gone)
    assert redemption(early) == ("cancelled", 0)
    late = buy()
    say(code_shop, late, SETTLED, paid=HALF)
    issue_now(late.id, signer.key_id)
    say(code_shop, late, gone)
    assert redemption(late) == ("redeemed", 1)


def test_final_check_frees_unpaid_slots(code_shop):
    invoice = buy()
    yesterday = func.now() - timedelta(days=1, minutes=1)
    set_columns(invoice.id, created_at=func.now() - timedelta(days=31), final_check_at=yesterday)
    check_invoice(invoice.id, SettlementRules())
    assert redemption(invoice) == ("cancelled", 0)


def test_refused_invoice_frees_it(code_shop):
    code_shop.trouble = RemoteRefused("no (422)")
    with pytest.raises(RemoteRefused):
        buy()
    code_shop.trouble = None
    assert redemption(buy()) == ("reserved", 1)


def test_codes_that_can_not_be_used_say_why(code_shop):
    make_catalog("other")
    with reading() as session:
        code = session.scalars(select(DiscountCode)).first()
        assert code is not None
    add("OLD")
    with transaction() as session:
        past = func.now() - timedelta(seconds=1)
        session.execute(update(DiscountCode).where(DiscountCode.code == "OLD").values(expires_at=past))
    add("GONE")
    with transaction() as session:
        disable_code(session, "gone", actor="cli")
    with pytest.raises(NotFound, match="no discount code NOTHING"):
        buy("nothing")
    with pytest.raises(NotApplicable, match="code OLD has expired"):
        buy("old")
    with pytest.raises(NotFound, match="no discount code GONE"):
        buy("gone")


def test_code_of_one_product_is_refused_for_another(code_shop):
    product = make_catalog("other")
    add("OTHERS", product_id=product.id)
    with pytest.raises(NotApplicable, match="code OTHERS is for another product"):
        buy("others")
    assert open_invoice(Order("other", code="others"))


def test_only_a_code_for_a_free_license_can_be_redeemed(code_shop, signer):
    add("GIFT", CodeKind.FREE_LICENSE, 0)
    with pytest.raises(InvalidInput, match="code once doesn't give a license for free"):
        buy("once", only_free=True)
    gift = buy("gift", only_free=True)
    assert (gift.status, gift.amount, gift.base_amount) == ("settled", 0, 21_000)
    assert redemption(gift)[0] == "redeemed"
    assert len(load_licenses(gift.id)) == 1


def test_no_statement_can_raise_the_counter_above_the_limit(code_shop):
    with pytest.raises(Exception, match="contradicts what is stored"), transaction() as session:
        session.execute(update(DiscountCode).values(uses=2))
