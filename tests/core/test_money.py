"""Money survives conversions between integers, decimals and text, and everything else is refused."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keysat.core.errors import InvalidInput
from keysat.core.money import DECIMALS, MAX_AMOUNT, Money, parse_decimal

currencies = st.sampled_from(sorted(DECIMALS))
moneys = st.builds(Money, st.integers(0, MAX_AMOUNT), currencies)
patiently = settings(deadline=None)


@patiently
@given(moneys)
def test_money_decimal_round_trip(money):
    assert parse_decimal(f"{money.to_decimal():f}", money.currency) == money


@patiently
@given(moneys)
def test_money_survives_the_trip_through_a_decimal(money):
    assert parse_decimal(money.to_decimal(), money.currency) == money


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("0.00002100", "BTC", 2_100),
        ("0.000021", "BTC", 2_100),
        ("1", "BTC", 100_000_000),
        ("21000000", "BTC", MAX_AMOUNT),
        ("19.99", "EUR", 1_999),
        ("1.999E+1", "USD", 1_999),
        ("0", "CHF", 0),
        (Decimal("0.01"), "GBP", 1),
        (7, "CAD", 700),
    ],
)
def test_whole_units_become_smallest_units(text, currency, amount):
    assert parse_decimal(text, currency) == Money(amount, currency)


@pytest.mark.parametrize(
    ("text", "cents"),
    [("0.004", 0), ("0.005", 1), ("0.0149", 1), ("0.015", 2), ("0.025", 3), ("0.99999", 100)],
)
def test_digits_below_the_smallest_unit_are_rounded_half_up(text, cents):
    assert parse_decimal(text, "EUR").amount == cents


@pytest.mark.parametrize("text", [0.1, 1.0, float("nan"), float("inf"), True, False, None, b"1", [], {}, ("1",)])
def test_what_is_neither_text_nor_an_exact_number_is_refused(text):
    with pytest.raises(InvalidInput, match="is not an amount"):
        parse_decimal(text, "BTC")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1.2.3",
        "0x10",
        "NaN",
        "sNaN",
        "-NaN",
        "Infinity",
        "-inf",
        "1e999999",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        10**40,
        "9" * 5_000,
    ],
)
def test_no_finite_number_of_a_sane_size_is_refused(text):
    with pytest.raises(InvalidInput, match="is not an amount"):
        parse_decimal(text, "BTC")


@pytest.mark.parametrize("text", ["-1", "-0.01", Decimal(-5), -1, "21000000.00000001", "21000001"])
def test_amounts_below_zero_or_beyond_all_bitcoin_are_refused(text):
    with pytest.raises(InvalidInput, match="out of range"):
        parse_decimal(text, "BTC")


@pytest.mark.parametrize("text", ["-0.001", "-1e-9", Decimal("-0.004")])
def test_amount_that_only_rounds_to_zero_is_still_below_it(text):
    with pytest.raises(InvalidInput):
        parse_decimal(text, "EUR")


@pytest.mark.parametrize("currency", ["", "btc", "XBT", "SATS", "EUR ", "JPY"])
def test_unknown_currency_is_refused_and_the_known_ones_are_named(currency):
    for make in (lambda: parse_decimal("1", currency), lambda: Money(1, currency)):
        with pytest.raises(InvalidInput, match=r"not supported; use one of BTC, USD, EUR"):
            make()


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1, 10**30])
def test_money_itself_refuses_amounts_out_of_range(amount):
    with pytest.raises(InvalidInput, match="out of range"):
        Money(amount, "BTC")


def test_number_too_long_to_print_is_refused_like_any_other():
    for make in (lambda: parse_decimal(10**5_000, "BTC"), lambda: Money(10**5_000, "BTC")):
        with pytest.raises(InvalidInput):
            make()


@pytest.mark.parametrize("amount", [1.5, 1.0, Decimal(1)])
def test_money_itself_refuses_amounts_that_are_no_integers(amount):
    with pytest.raises(InvalidInput):
        Money(amount, "BTC")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40), currencies)
def test_arbitrary_text_is_money_or_refused(text, currency):
    try:
        money = parse_decimal(text, currency)
    except InvalidInput:
        return
    assert 0 <= money.amount <= MAX_AMOUNT


@patiently
@given(st.decimals(0, 20_000_000, allow_nan=False, places=12), currencies)
def test_rounding_moves_an_amount_by_half_a_unit_at_most(value, currency):
    unit = Decimal(1).scaleb(-DECIMALS[currency])
    assert abs(parse_decimal(str(value), currency).to_decimal() - value) <= unit / 2


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(0, "BTC"), "0 sat"),
        (Money(2_100, "BTC"), "2,100 sat"),
        (Money(1_999, "EUR"), "19.99 EUR"),
        (Money(123_456_700, "USD"), "1,234,567.00 USD"),
        (Money(5, "GBP"), "0.05 GBP"),
    ],
)
def test_a_person_reads_it_in_the_usual_unit(money, text):
    assert str(money) == text


def test_decimals_of_the_currency_are_always_all_there():
    assert str(Money(2_100, "BTC").to_decimal()) == "0.00002100"
    assert str(Money(1_990, "EUR").to_decimal()) == "19.90"


@pytest.mark.parametrize(
    ("amount", "points", "rest"),
    [(10_000, 0, 10_000), (10_000, 1, 9_999), (21_000, 100, 20_790), (1, 1, 0), (0, 50, 0)],
)
def test_basis_points_are_taken_off_and_rounded_down(amount, points, rest):
    assert Money(amount, "BTC").less_basis_points(points) == rest


@patiently
@given(moneys, st.integers(0, 5_000))
def test_basis_points_share(money, points):
    """A share exceeds its exact value by less than one unit."""
    rest = money.less_basis_points(points)
    exact = Decimal(money.amount) * (10_000 - points) / 10_000
    assert exact - 1 < rest <= exact
