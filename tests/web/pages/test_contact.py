"""Whoever is told to write to the seller finds the address and a reference to quote."""

import pytest
from sqlalchemy import func

from keysat.core.settings import load_settings
from keysat.models.license import LicenseStatus
from keysat.operations.why import State
from keysat.web.pages.language import catalog
from keysat.web.tokens import page_of
from tests.builders import load_licenses, set_columns, set_license
from tests.web.pages.conftest import text_of
from tests.web.pages.states import SHOWN, make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
SAYING_SO = [state for state in SHOWN if "rite to the seller" in catalog("en")[f"state.{state}.text"]]


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("KEYSAT_SUPPORT_ADDRESS", "help@shop.example")
    load_settings.cache_clear()
    yield "help@shop.example"
    monkeypatch.undo()
    load_settings.cache_clear()


def check_contact(browser, invoice_id):
    shown = browser.get(page_of(invoice_id))
    assert f'href="mailto:help@shop.example?subject={invoice_id}"' in shown.text
    assert f"{invoice_id} Give this reference when you write to the seller." in text_of(shown)


@pytest.mark.parametrize(
    "facts",
    [{"status": LicenseStatus.SUSPENDED}, {"status": LicenseStatus.REVOKED}, {"transferred_at": func.now()}],
    ids=["suspended", "revoked", "transferred"],
)
def test_license_that_was_taken(browser, address, facts):
    invoice_id = make_purchase(State.LICENSED)
    (owned,) = load_licenses(invoice_id)
    set_license(owned.id, **facts)
    check_contact(browser, invoice_id)


def test_license_that_was_paid_twice(browser, address):
    invoice_id = make_purchase(State.LICENSED)
    set_columns(invoice_id, paid_amount=42_000)
    check_contact(browser, invoice_id)


@pytest.mark.parametrize("state", SAYING_SO)
def test_state_whose_text_says_so(browser, address, state):
    check_contact(browser, make_purchase(state))


def test_sellers_name_is_the_operator_of_the_api(browser, monkeypatch):
    monkeypatch.setenv("KEYSAT_SELLER_NAME", "Lumen Software")
    load_settings.cache_clear()
    assert browser.get("/", headers={"Accept": "*/*"}).json()["operator"] == "Lumen Software"
    assert "Lumen Software" in text_of(browser.get("/"))
    monkeypatch.undo()
    load_settings.cache_clear()
