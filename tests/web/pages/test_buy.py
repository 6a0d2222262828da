"""Buying on the page, over HTTP."""

import pytest
from sqlalchemy import select

from keysat.core.db import reading
from keysat.models import Invoice
from keysat.web.tokens import page_of
from tests.builders import check_invoice, invoice_of, issue_now, load_licenses
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database")


def newest_page():
    """The path of the newest purchase's page."""
    with reading() as session:
        return page_of(session.scalars(select(Invoice.id).order_by(Invoice.id.desc()).limit(1)).one())


def test_whole_path_ends_at_the_key(browser, buy, shop, signer):
    bought = buy(email="buyer@example.com")
    assert bought.status_code == 303
    assert bought.headers["location"].startswith(shop.url + "/i/")
    mine = newest_page()
    waiting = browser.get(mine)
    assert waiting.status_code == 200
    assert "Waiting for your payment" in text_of(waiting)
    invoice_id = invoice_of(mine.rpartition("/")[2])
    shop.pay(bought.headers["location"].rpartition("/")[2])
    check_invoice(invoice_id)
    issue_now(invoice_id, signer.key_id)
    (owned,) = load_licenses(invoice_id)
    assert signer.key_for(owned) in text_of(browser.get(mine))
