"""Nobody who gets a license for free reads of a payment."""

import re

import pytest
from sqlalchemy import update

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.models import Product
from keysat.models.discount_code import CodeKind
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
PAYMENT = re.compile(r"pay|paid|charged|receipt of|Zahl|zahl|abgebucht")


@pytest.fixture
def free():
    """The product is free."""
    with transaction() as session:
        session.execute(update(Product).values(price_amount=0))


@pytest.mark.parametrize("language", ["en", "de"])
def test_free_product_has_no_word_of_payment(browser, buy, free, language):
    shown = [browser.get(f"{path}?lang={language}") for path in ("/", "/buy/editor")]
    bought = buy()
    shown.append(browser.get(f"{bought.headers['location']}?lang={language}"))
    for page in shown:
        assert page.status_code == 200
        assert not PAYMENT.search(text_of(page))


def test_code_that_makes_it_free_has_no_word_of_payment(browser):
    with transaction() as session:
        add_code(session, NewCode("GIFT", CodeKind.FREE_LICENSE, 0), actor="cli")
    words = text_of(browser.get("/buy/editor?code=gift"))
    assert not PAYMENT.search(words)
    assert "Get the license" in words


def test_button_fits_whichever_policy_is_chosen(browser):
    assert ">Continue to payment</button>" in browser.get("/buy/editor").text
    with transaction() as session:
        add_policy(session, "editor", "trial", "Trial", Terms(is_trial=True, price_amount=0), actor="cli")
    shown = browser.get("/buy/editor")
    assert ">Continue</button>" in shown.text
    assert "A free one appears at once." in text_of(shown)
