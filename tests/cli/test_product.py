"""`keysat product`: adding and listing what is sold."""

import pytest

from tests.builders import make_catalog

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        ("21000", "21,000 sat"),
        ("21,000", "21,000 sat"),
        ("21000 sat", "21,000 sat"),
        ("1 SATS", "1 sat"),
        ("19.99 EUR", "19.99 EUR"),
        ("1,234.50 usd", "1,234.50 USD"),
        ("0.001 BTC", "100,000 sat"),
        ("0", "0 sat"),
    ],
)
def test_product_is_added_with_the_price_a_person_types(keysat, price, shown):
    added = keysat("product", "add", "editor", "--price", price, "--json")
    assert added.code == 0
    assert added.json["slug"] == "editor"
    [row] = keysat("product", "list", "--json").json
    assert row == {"slug": "editor", "name": "editor", "price": shown, "id": added.json["id"], "archived": None}


def test_product_may_have_a_name_of_its_own(keysat):
    keysat("product", "add", "editor", "--price", "1", "--name", "The Editor", "--description", "It edits")
    assert keysat("product", "list", "--json").json[0]["name"] == "The Editor"


def test_list_in_a_pipe_is_lines_of_tab_separated_fields(keysat):
    make_catalog("editor")
    make_catalog("another")
    head, *rows = keysat("product", "list").out.splitlines()
    assert head.split("\t") == ["slug", "name", "price", "id", "archived"]
    assert [row.split("\t")[0] for row in rows] == ["another", "editor"]


def test_empty_list_is_no_data(keysat):
    finished = keysat("product", "list")
    assert (finished.code, finished.out, finished.err) == (0, "", "nothing to show\n")
    assert keysat("product", "list", "--json").json == []


@pytest.mark.parametrize(
    "price", ["", "cheap", "1.5", "-1", "-5 EUR", "NaN EUR", "5 JPY", "1e30", "99999999999999999999", "EUR 5"]
)
def test_price_that_can_not_be_read_is_refused(keysat, price):
    assert keysat("product", "add", "editor", f"--price={price}").refusal
    assert keysat("product", "list", "--json").json == []


def test_decimal_comma_never_makes_a_price_a_hundredfold(keysat):
    keysat("product", "add", "editor", "--price", "19,99 EUR")
    assert [row["price"] for row in keysat("product", "list", "--json").json] in ([], ["19.99 EUR"])


def test_price_of_absurd_length_is_refused(keysat):
    assert "price" in keysat("product", "add", "editor", "--price", "9" * 5_000).refusal


@pytest.mark.parametrize("slug", ["Editor", "ed itor", "", ".editor", "editör", "x" * 64, "editor\n"])
def test_slug_of_another_form_is_refused(keysat, slug):
    assert "must be lower-case letters" in keysat("product", "add", slug, "--price", "1").refusal


def test_slug_that_is_taken_is_refused(keysat):
    make_catalog("editor")
    assert "there is a product editor already" in keysat("product", "add", "editor", "--price", "1").refusal


def test_price_must_be_given(keysat):
    assert "--price" in keysat("product", "add", "editor").usage


def test_price_with_more_decimals_than_its_currency_has_is_refused(keysat):
    assert "more decimals" in keysat("product", "add", "editor", "--price", "19.999 EUR").refusal


def test_argument_that_is_no_text_is_refused(keysat):
    assert "not UTF-8" in keysat("product", "add", "editor", "--price", "1", "--name", "\udcff").refusal
