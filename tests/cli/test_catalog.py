"""Editing products and policies: what buyers see changes at once, what they have stays."""

import pytest

from keysat.catalog.products import require_product
from keysat.core.db import reading
from keysat.sales.purchase import Order
from tests.builders import issue_now, load_licenses, make_invoice, make_shop, open_invoice, set_columns

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def listed(keysat, noun):
    (row,) = keysat(noun, "list", "--json").json
    return row


def test_product_is_edited_field_by_field(keysat):
    make_shop()
    assert keysat("product", "edit", "editor", "--price", "9.99 EUR").err == "editor is changed\n"
    assert keysat("product", "edit", "editor", "--name", "The Editor").code == 0
    row = listed(keysat, "product")
    assert (row["name"], row["price"]) == ("The Editor", "9.99 EUR")
    assert "say what to change" in keysat("product", "edit", "editor").refusal
    assert "no product nothing" in keysat("product", "edit", "nothing", "--name", "x").refusal


def test_archived_product_and_policy_are_not_sold_until_they_are_back(keysat):
    make_shop()
    for noun, which in (("product", ("editor",)), ("policy", ("editor", "standard"))):
        keysat(noun, "archive", *which)
        assert listed(keysat, noun)["archived"] is not None
        assert keysat("invoice", "open", "editor").refusal.startswith(("no product editor", "no policy of editor"))
        keysat(noun, "unarchive", *which)
        assert keysat("invoice", "open", "editor").code == 0


def test_policy_is_edited_and_old_licenses_keep_their_terms(keysat, signer):
    invoice = make_invoice()
    set_columns(invoice.id, status="settled", settled_at=invoice.created_at)
    issue_now(invoice.id, signer.key_id)
    terms = "--days 30 --machines 5 --entitlement a --entitlement b --price 500 --highlight"
    assert keysat("policy", "edit", "editor", "standard", *terms.split()).code == 0
    row = listed(keysat, "policy")
    assert (row["days"], row["machines"], row["entitlements"], row["price"]) == (30, 5, ["a", "b"], "500 sat")
    assert keysat("policy", "edit", "editor", "standard", "--days", "0").code == 0
    assert listed(keysat, "policy")["days"] is None
    (old,) = load_licenses()
    assert (old.max_machines, old.entitlements, old.expires_at) == (1, ["export"], None)
    assert "say what to change" in keysat("policy", "edit", "editor", "standard").refusal


def test_price_that_a_policy_overrides_keeps_its_currency(keysat):
    make_shop()
    keysat("policy", "edit", "editor", "standard", "--price", "500")
    assert "prices of their own in BTC" in keysat("product", "edit", "editor", "--price", "5 EUR").refusal
    assert "editor is priced in BTC" in keysat("policy", "edit", "editor", "standard", "--price", "5 EUR").refusal


def test_entitlements_are_explained_and_forgotten(keysat):
    make_shop()
    keysat("product", "explain", "editor", "export", "Export", "--description", "to PDF")
    keysat("product", "explain", "editor", "export", "PDF export")
    with reading() as session:
        (entry,) = require_product(session, "editor").entitlements_catalog
    assert entry == {"slug": "export", "name": "PDF export", "description": ""}
    assert keysat("product", "explain", "editor", "export", "").err == "editor explains 0 entitlements\n"
    assert "must be lower-case" in keysat("product", "explain", "editor", "Ex Port", "x").refusal


def test_edited_price_is_charged(keysat):
    make_shop()
    keysat("product", "edit", "editor", "--price", "777")
    invoice_id = open_invoice(Order("editor"))
    assert keysat("invoice", "show", invoice_id, "--json").json["price"] == "777 sat"
