"""What a code makes of a price: never more, never nothing unless it is free, never a guess between currencies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keysat.codes.pricing import Discount, NotApplicable, discounted
from keysat.core.money import MAX_AMOUNT, Money
from keysat.models.discount_code import CodeKind

PERCENT, FIXED, SET, FREE = CodeKind.PERCENT, CodeKind.FIXED_SATS, CodeKind.SET_PRICE, CodeKind.FREE_LICENSE


@pytest.mark.parametrize(
    ("price", "kind", "amount", "left"),
    [
        (21_000, PERCENT, 2_500, 15_750),
        (21_000, PERCENT, 1, 20_997),
        (21_000, PERCENT, 10_000, 1),
        (1, PERCENT, 1, 1),
        (3, PERCENT, 5_000, 1),
        (21_000, FIXED, 1_000, 20_000),
        (21_000, FIXED, 21_000, 1),
        (21_000, FIXED, 50_000, 1),
        (21_000, SET, 10_000, 10_000),
        (21_000, SET, 21_000, 21_000),
        (21_000, SET, 50_000, 21_000),
        (21_000, FREE, 0, 0),
        (0, PERCENT, 2_500, 0),
        (0, SET, 10_000, 0),
    ],
)
def test_price_that_is_left(price, kind, amount, left):
    assert discounted(Money(price, "BTC"), Discount("CODE", kind, amount)) == Money(left, "BTC")


@pytest.mark.parametrize(("kind", "amount", "left"), [(PERCENT, 5_000, 999), (FREE, 0, 0)])
def test_shares_and_gifts_work_in_any_currency(kind, amount, left):
    assert discounted(Money(1_999, "EUR"), Discount("CODE", kind, amount)) == Money(left, "EUR")


def test_set_price_works_in_its_own_currency_only():
    assert discounted(Money(1_999, "EUR"), Discount("CODE", SET, 999, "EUR")) == Money(999, "EUR")
    with pytest.raises(NotApplicable, match="code CODE is in EUR, so it can't be used for a price in BTC"):
        discounted(Money(21_000, "BTC"), Discount("CODE", SET, 999, "EUR"))


def test_sats_are_not_taken_off_a_price_in_euro():
    with pytest.raises(NotApplicable, match="is in BTC"):
        discounted(Money(1_999, "EUR"), Discount("CODE", FIXED, 1_000))


@given(
    price=st.integers(0, MAX_AMOUNT),
    discount=st.one_of(
        st.builds(Discount, st.just("C"), st.just(PERCENT), st.integers(1, 10_000)),
        st.builds(Discount, st.just("C"), st.sampled_from([FIXED, SET]), st.integers(1, MAX_AMOUNT)),
        st.just(Discount("C", FREE, 0)),
    ),
)
def test_price_never_rises_and_is_nothing_only_where_it_is_free(price, discount):
    left = discounted(Money(price, "BTC"), discount)
    assert 0 <= left.amount <= price
    assert (left.amount == 0) == (price == 0 or discount.kind is FREE)
