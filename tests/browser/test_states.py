"""Every page and every state in a real browser: accessible, within the screen, in light and dark, without errors."""

import pytest

from keysat.catalog.products import Terms, add_policy
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.models import Policy, Product
from keysat.models.discount_code import CodeKind
from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.browser.conftest import examine
from tests.builders import make_catalog
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def furnish():
    """A shop with several policies, products and a code."""
    catalog = [{"slug": "export", "name": "Export to PDF", "description": "also in print quality"}]
    with transaction() as session:
        product = session.query(Product).one()
        product.name, product.entitlements_catalog = "Editor", catalog
        product.description = "Write, arrange and publish long texts, alone or together."
        session.query(Policy).one().description = "For one person, for good."
        yearly = Terms(
            duration_seconds=365 * 86_400, max_machines=3, entitlements=("export", "sync"), price_amount=9_000
        )
        add_policy(session, "editor", "yearly", "One year", yearly, "All new versions within a year.", actor="cli")
        trial = Terms(duration_seconds=14 * 86_400, is_trial=True, price_amount=0)
        add_policy(session, "editor", "trial", "Try it", trial, actor="cli")
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")
    make_catalog("player")


def test_first_page(open_page):
    furnish()
    examine(open_page("/"), "home")


def test_form(open_page):
    furnish()
    examine(open_page("/buy/editor?code=spring&email=buyer@example.com"), "buy")


def test_form_with_errors(open_page):
    furnish()
    page = open_page("/buy/editor?lang=de")
    page.fill("#email", "nobody")
    page.fill("#code", "WINTER")
    page.click("button[value=buy]")
    examine(page, "buy-wrong")


@pytest.mark.parametrize("state", State)
def test_state(open_page, state):
    invoice_id = make_purchase(state)
    examine(open_page(page_of(invoice_id)), f"purchase-{state}")
