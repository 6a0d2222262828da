"""The price before a purchase: what the purchase would charge, without taking a slot."""

import pytest
from sqlalchemy import select

from keysat.codes.manage import NewCode, add_code
from keysat.codes.reserve import CodeUsedUp
from keysat.core.db import reading, transaction
from keysat.core.errors import NotFound
from keysat.core.money import Money
from keysat.models import DiscountCode
from keysat.models.discount_code import CodeKind
from keysat.sales.purchase import Order
from keysat.sales.quote import preview
from tests.builders import PRICE, load_invoice, open_invoice

pytestmark = pytest.mark.usefixtures("fake_shop")


def show(**facts):
    with reading() as session:
        return preview(session, Order("editor", **facts))


def add(code, **facts):
    with transaction() as session:
        add_code(session, NewCode(code, CodeKind.PERCENT, 2_500, **facts), actor="cli")


def test_preview_is_the_price_charged():
    add("SPRING")
    offer = show(code="spring")
    invoice = load_invoice(open_invoice(Order("editor", code="spring")))
    assert offer.base == Money(PRICE, "BTC") == Money(invoice.base_amount, "BTC")
    assert offer.price == Money(PRICE * 3 // 4, "BTC") == Money(invoice.amount, "BTC")


def test_preview_takes_no_slot():
    add("ONCE", max_uses=1)
    for _ in range(3):
        assert show(code="once").discount == PRICE // 4
    with reading() as session:
        assert session.scalars(select(DiscountCode.uses)).one() == 0


def test_preview_refuses_a_used_up_code():
    add("ONCE", max_uses=1)
    open_invoice(Order("editor", code="once"))
    with pytest.raises(CodeUsedUp):
        show(code="once")


def test_preview_without_code_is_the_list_price():
    assert show().price == show().base == Money(PRICE, "BTC")
    with pytest.raises(NotFound):
        show(policy="none")
