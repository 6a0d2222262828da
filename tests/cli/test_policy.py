"""`keysat policy`: the terms under which a product is licensed."""

import pytest
from sqlalchemy import select

from keysat.core.db import reading
from keysat.models import Policy
from tests.builders import make_catalog

pytestmark = pytest.mark.usefixtures("empty_database")


def only_policy(keysat, name):
    [row] = [row for row in keysat("policy", "list", "editor", "--json").json if row["policy"] == name]
    return row


def test_policy_is_added_with_its_terms(keysat):
    make_catalog()
    added = keysat(
        *["policy", "add", "editor", "pro", "--days", "365", "--grace-days", "14", "--machines", "3", "--trial"],
        *["--seat-releases", "2", "--entitlement", "export", "--entitlement", "sync", "--price", "99,000", "--json"],
    )
    assert (added.code, added.json["slug"], added.json["product"]) == (0, "pro", "editor")
    assert only_policy(keysat, "pro") == {
        "product": "editor",
        "policy": "pro",
        "price": "99,000 sat",
        "days": 365,
        "machines": 3,
        "seat_releases": 2,
        "recurring": False,
        "trial_days": 0,
        "notice_days": [14, 7, 1],
        "trial": True,
        "entitlements": ["export", "sync"],
        "hidden": False,
        "archived": None,
    }


def test_policy_default_terms(keysat):
    """The default is a perpetual license for one machine at the product's price."""
    make_catalog()
    keysat("policy", "add", "editor", "plain")
    row = only_policy(keysat, "plain")
    assert (row["days"], row["machines"], row["trial"], row["price"]) == (None, 1, False, "21,000 sat")


def test_no_limit_of_machines_is_shown_as_such(keysat):
    make_catalog()
    keysat("policy", "add", "editor", "many", "--machines", "0")
    assert only_policy(keysat, "many")["machines"] == "unlimited"


def test_list_is_of_one_product_or_of_all(keysat):
    make_catalog()
    make_catalog("viewer")
    assert [row["product"] for row in keysat("policy", "list", "--json").json] == ["editor", "viewer"]
    assert [row["product"] for row in keysat("policy", "list", "viewer", "--json").json] == ["viewer"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--price", "5 EUR"], "editor is priced in BTC"),
        (["--price", "much"], "must be like 21000"),
        (["--days", "1000000"], "a duration must be"),
        (["--grace-days", "1000000"], "a grace period must be"),
        (["--machines", "2000000"], "the number of machines must be"),
        (["--entitlement", ""], "entitlements of 1 to 255 bytes"),
        (["--entitlement", "x" * 256], "entitlements of 1 to 255 bytes"),
        (["--entitlement=x"] * 256, "at most 255 entitlements"),
    ],
)
def test_term_out_of_range_is_refused_and_nothing_is_stored(keysat, options, complaint):
    make_catalog()
    assert complaint in keysat("policy", "add", "editor", "pro", *options).refusal
    assert [row["policy"] for row in keysat("policy", "list", "--json").json] == ["standard"]


@pytest.mark.parametrize("options", [["--days", "0"], ["--days", "soon"], ["--machines", "-1"], ["--grace-days", "-1"]])
def test_value_of_another_form_is_wrong_usage(keysat, options):
    assert options[0] in keysat("policy", "add", "editor", "pro", *options).usage


def test_unknown_product_is_refused(keysat):
    assert keysat("policy", "add", "nothing", "pro").refusal == "no product nothing; `keysat product list` shows them."


def test_slug_that_is_taken_is_refused(keysat):
    make_catalog()
    assert "has a policy standard already" in keysat("policy", "add", "editor", "standard").refusal


def test_edit_changes_terms_and_takes_prices_and_entitlements_back(keysat):
    make_catalog()
    keysat("policy", "add", "editor", "pro", "--price", "99,000", "--entitlement", "export")
    assert keysat("policy", "edit", "editor", "pro", "--trial", "--days", "30", "--entitlement", "sync").code == 0
    row = only_policy(keysat, "pro")
    assert (row["trial"], row["days"], row["entitlements"], row["price"]) == (True, 30, ["sync"], "99,000 sat")
    taken_back = keysat(
        "policy", "edit", "editor", "pro", "--no-trial", "--days", "0", "--entitlement", "", "--price", ""
    )
    assert taken_back.code == 0
    row = only_policy(keysat, "pro")
    assert (row["trial"], row["days"], row["entitlements"], row["price"]) == (False, None, [], "21,000 sat")
    assert "say what to change" in keysat("policy", "edit", "editor", "pro").refusal


@pytest.mark.parametrize("command", [["policy", "edit", "editor", "standard"], ["product", "edit", "editor"]])
def test_name_is_not_emptied(keysat, command):
    make_catalog()
    assert "can't be empty" in keysat(*command, "--name", " ").refusal


def test_policy_is_hidden_placed_and_described(keysat):
    make_catalog()
    keysat("policy", "add", "editor", "friends", "--hidden", "--position", "-1", "--bullet", "Help", "--bullet", "More")
    rows = keysat("policy", "list", "editor", "--json").json
    assert [(row["policy"], row["hidden"]) for row in rows] == [("friends", True), ("standard", False)]
    keysat("policy", "edit", "editor", "friends", "--no-hidden", "--position", "1", "--bullet", "")
    rows = keysat("policy", "list", "editor", "--json").json
    assert [(row["policy"], row["hidden"]) for row in rows] == [("standard", False), ("friends", False)]
    with reading() as session:
        assert session.scalar(select(Policy.bullets).where(Policy.slug == "friends")) == []
