"""Rows of a newer version, in a currency that this one doesn't know, are listed like all others."""

import pytest
from sqlalchemy import func, update

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.models import DiscountCode, Product
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import ReviewReason
from tests.builders import make_catalog, make_invoice, set_columns

COMMANDS = ["invoice list", "product list", "policy list", "code list", "report --from 2026-01-01"]


@pytest.fixture
def _newer(fake_shop):
    """A product, a policy, a code and a settled invoice in another currency, and the same in bitcoin."""
    settled = {"status": "settled", "settled_at": func.now(), "paid_at": func.now(), "paid_amount": 21_000}
    make_catalog("player")
    make_invoice(**settled)
    set_columns(make_invoice(**settled).id, currency="XAU")
    with transaction() as session:
        for code in ("PLAIN", "NEWER"):
            add_code(session, NewCode(code, CodeKind.SET_PRICE, 5_000), actor="cli")
        session.execute(update(Product).where(Product.slug == "player").values(price_currency="XAU"))
        session.execute(update(DiscountCode).where(DiscountCode.code == "NEWER").values(currency="XAU"))


@pytest.mark.usefixtures("_newer")
@pytest.mark.parametrize("command", COMMANDS)
def test_row_of_an_unknown_currency_is_listed_in_its_smallest_unit(keysat, command):
    finished = keysat(*command.split())
    assert finished.code == 0, finished.err
    assert "of XAU's smallest unit" in " ".join(finished.out.split())
    assert " sat" in finished.out


def test_invoice_in_an_unknown_currency_is_shown(keysat, fake_shop):
    short = {"status": "expired", "paid_amount": 20_000, "review_reason": ReviewReason.UNDERPAID}
    finished = keysat("invoice", "show", make_invoice(**short, currency="XAU").id)
    assert finished.code == 0, finished.err
    amounts = "20,000 of XAU's smallest unit of 21,000 of XAU's smallest unit were paid"
    assert amounts in " ".join(finished.out.split())
