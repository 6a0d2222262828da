"""Rows in a currency that only a newer version charges. Buyers still see what they bought, and buy the rest."""

import pytest
from sqlalchemy import update

from keysat.core.db import transaction
from keysat.models import Product
from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.builders import load_licenses, make_catalog, set_columns
from tests.web.pages.conftest import text_of
from tests.web.pages.states import make_purchase
from tests.web.pages.test_me_page import proof

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop", "many_attempts")


def purchase(state):
    invoice_id = make_purchase(state)
    set_columns(invoice_id, currency="XAU")
    return invoice_id


def words(response):
    return text_of(response).replace("\N{NO-BREAK SPACE}", " ")


def test_buyer_sees_the_key_and_the_receipt(browser, signer):
    invoice_id = purchase(State.LICENSED)
    (owned,) = load_licenses(invoice_id)
    key = signer.key_for(owned)
    assert key in words(browser.get(page_of(invoice_id)))
    assert browser.get(f"/v1/purchase/{invoice_id}").json()["license_key"] == key
    shown = browser.post("/me", key=key)
    receipt = browser.post("/me", **{"pass": proof(shown), "license": owned.id, "do": "receipt"})
    assert "21,000 of XAU's smallest unit" in words(receipt)


def test_rest_of_a_short_payment_is_no_buyers_to_pay(browser):
    invoice_id = purchase(State.SHORT)
    shown = browser.get(page_of(invoice_id))
    assert "9,000 of XAU's smallest unit" in words(shown)
    assert "/rest" not in shown.text
    polled = browser.get(f"/v1/purchase/{invoice_id}").json()
    assert (polled["state"], polled["amount_sats"], polled["amount"]) == ("short", 0, 21_000)
    assert polled.get("missing_amount") is None


def test_product_of_an_unknown_currency_is_not_on_sale(browser):
    """Another version wrote it. It stops no other product."""
    make_catalog("player")
    with transaction() as session:
        session.execute(update(Product).where(Product.slug == "player").values(price_currency="XAU"))
    assert [row["slug"] for row in browser.get("/v1/products").json()["products"]] == ["editor"]
    assert [browser.get(f"/v1/products/player{more}").status_code for more in ("", "/policies")] == [404, 404]
    assert browser.get("/buy/player").status_code == 404
    assert "Editor" in text_of(browser.get("/"))
