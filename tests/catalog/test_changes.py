"""Changes of the catalog concern what is sold from now on, and nothing that was sold before."""

import pytest

from keysat.catalog.changes import change_policy, change_product
from keysat.core.db import transaction
from keysat.core.errors import InvalidInput, NotFound
from tests.builders import PRICE, load_invoice, load_licenses, make_catalog, make_invoice, make_license

pytestmark = pytest.mark.usefixtures("empty_database")


def test_open_invoice_and_license_keep_their_terms(fake):
    invoice = make_invoice()
    license_ = make_license("viewer")
    with transaction() as session:
        change_product(session, "editor", {"price_amount": 1}, "cli")
        change_policy(session, "viewer", "standard", {"max_machines": 9, "entitlements": ["sync"]}, "cli")
    assert load_invoice(invoice.id).amount == PRICE
    (kept,) = load_licenses()
    assert (kept.max_machines, kept.entitlements) == (license_.max_machines, license_.entitlements)


@pytest.mark.parametrize("column", ["id", "slug", "product_id", "created_at"])
def test_what_identifies_a_row_stays(column):
    make_catalog()
    with pytest.raises(InvalidInput, match=f"{column} can't be changed"), transaction() as session:
        change_policy(session, "editor", "standard", {column: "x"}, "cli")


@pytest.mark.parametrize("terms", [{"duration_seconds": 0}, {"max_machines": -1}, {"entitlements": ["x" * 300]}])
def test_terms_out_of_range_change_nothing(terms):
    make_catalog()
    with pytest.raises(InvalidInput), transaction() as session:
        change_policy(session, "editor", "standard", terms, "cli")


def test_unknown_policy_is_named():
    make_catalog()
    with pytest.raises(NotFound, match="no policy gold"), transaction() as session:
        change_policy(session, "editor", "gold", {"name": "Gold"}, "cli")


def test_currency_changes_once_no_policy_has_a_price_of_its_own():
    make_catalog()
    euros = {"price_amount": 500, "price_currency": "EUR"}
    with transaction() as session:
        change_policy(session, "editor", "standard", {"price_amount": 1}, "cli")
    with pytest.raises(InvalidInput, match="prices of their own in BTC"), transaction() as session:
        change_product(session, "editor", euros, "cli")
    with transaction() as session:
        change_policy(session, "editor", "standard", {"price_amount": None}, "cli")
        assert change_product(session, "editor", euros, "cli").price_currency == "EUR"
