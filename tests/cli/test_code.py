"""`keysat code`."""

import pytest

from keysat.sales.purchase import Order
from tests.builders import open_invoice

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.mark.parametrize(
    ("options", "effect"),
    [
        (("--percent", "25"), "25 % off"),
        (("--percent", "12.5%"), "12.5 % off"),
        (("--fixed-sats", "5000"), "5,000 sat off"),
        (("--price", "15,000"), "costs 15,000 sat"),
        (("--price", "9.99 EUR"), "costs 9.99 EUR"),
        (("--free",), "free"),
    ],
)
def test_each_kind_is_added_and_shown(keysat, fake_shop, options, effect):
    assert keysat("code", "add", "spring", *options).code == 0
    (row,) = keysat("code", "list", "--json").json
    assert (row["code"], row["effect"], row["state"]) == ("SPRING", effect, "active")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "say what the code does"),
        (("--free", "--percent", "5"), "say what the code does"),
        (("--percent", "0"), "must be 0.01 to 100"),
        (("--percent", "100.5"), "must be 0.01 to 100"),
        (("--percent", "nan"), "must be 0.01 to 100"),
        (("--percent", "1e999999"), "must be 0.01 to 100"),
        (("--percent", "much"), "must be 0.01 to 100"),
        (("--fixed-sats", "0"), "at least 1"),
        (("--price", "0"), "at least 1"),
        (("--free", "--max-uses", "0"), "number of uses"),
        (("--free", "--expires", "tomorrow"), "is no day"),
        (("--free", "--expires", "9999-12-31"), "is no day"),
        (("--free", "--product", "nothing"), "no product nothing"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(keysat, fake_shop, options, why):
    assert why in keysat("code", "add", "SPRING", *options).refusal
    assert keysat("code", "list", "--json").json == []


def test_code_can_be_there_once_and_has_a_form(keysat, fake_shop):
    keysat("code", "add", "SPRING", "--free")
    assert "there is a discount code SPRING already" in keysat("code", "add", "spring", "--free").refusal
    assert "must be letters" in keysat("code", "add", "two words", "--free").refusal


def test_code_show(keysat, fake_shop):
    """It lists the reserved slots, and each invoice names its code."""
    keysat("code", "add", "SPRING", "--percent", "10", "--max-uses", "1", "--product", "editor")
    invoice_id = open_invoice(Order("editor", code="spring"))
    shown = keysat("code", "show", "Spring", "--json").json
    assert (shown["uses"], shown["reserved"], shown["redeemed"], shown["state"]) == (1, 1, 0, "used up")
    record = keysat("invoice", "show", invoice_id, "--json").json
    assert (record["code"], record["discount"], record["price"]) == ("SPRING (reserved)", "2,100 sat", "18,900 sat")


def test_disabled_code_starts_no_purchase(keysat, fake_shop):
    keysat("code", "add", "SPRING", "--free")
    assert keysat("code", "disable", "spring").err == "code SPRING is disabled\n"
    assert keysat("code", "list", "--json").json[0]["state"] == "disabled"
    assert "no discount code SPRING" in keysat("invoice", "open", "editor", "--code", "spring").refusal


def test_code_edit(keysat, fake_shop):
    keysat("code", "add", "SPRING", "--percent", "10", "--product", "editor", "--policy", "standard", "--featured")
    (row,) = keysat("code", "list", "--json").json
    assert (row["policies"], row["featured"], row["per_buyer"]) == (["standard"], True, None)
    changed = ("--expires", "2999-01-30", "--max-uses", "7", "--per-buyer", "2", "--policy", "", "--no-featured")
    assert keysat("code", "edit", "spring", *changed).err == "code SPRING is changed\n"
    (row,) = keysat("code", "list", "--json").json
    assert row["expires"].startswith("2999-01-31")
    assert (row["max_uses"], row["per_buyer"], row["policies"], row["featured"]) == (7, 2, "all", False)
    keysat("code", "edit", "spring", "--expires", "", "--max-uses", "0", "--per-buyer", "0")
    (row,) = keysat("code", "list", "--json").json
    assert (row["expires"], row["max_uses"], row["per_buyer"], row["effect"]) == (None, None, None, "10 % off")
    assert keysat("code", "edit", "spring").refusal == "say what to change; `--help` lists it."
