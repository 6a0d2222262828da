"""The price of a purchase before it starts."""

import pytest

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.core.money import Money
from keysat.models.discount_code import CodeKind
from tests.builders import make_catalog

pytestmark = pytest.mark.usefixtures("fake_shop")
PATH = "/v1/discount-codes/preview"


def add(code, kind=CodeKind.PERCENT, amount=2_500, **facts):
    with transaction() as session:
        add_code(session, NewCode(code, kind, amount, **facts), actor="cli")


def test_preview_has_both_prices(api):
    add("SPRING")
    with transaction() as session:
        add_policy(session, "editor", "pro", "Pro", Terms(price_amount=40_000), actor="cli")
    assert api.get(PATH, params={"product": "editor", "policy": "pro", "code": "spring"}).json() == {
        "product": "editor",
        "policy": "pro",
        "code": "SPRING",
        "base_price_sats": 40_000,
        "amount_sats": 30_000,
        "discount_applied_sats": 10_000,
        "base_amount": 40_000,
        "amount": 30_000,
        "discount": 10_000,
        "currency": "BTC",
    }


def test_preview_agrees_with_the_purchase(api):
    add("SPRING", max_uses=1)
    seen = api.get(PATH, params={"product": "editor", "code": "SPRING"}).json()
    bought = api.post("/v1/purchase", {"product": "editor", "code": "SPRING"}).json()
    for field in ("amount", "amount_sats", "base_price_sats", "discount_applied_sats", "currency"):
        assert seen[field] == bought[field]
    used_up = api.get(PATH, params={"product": "editor", "code": "SPRING"})
    assert (used_up.status_code, used_up.json()["message"]) == (409, "code SPRING is used up.")


def test_preview_of_a_price_in_euro_has_no_sats(api):
    make_catalog("euro-editor", Money(1_999, "EUR"))
    price = api.get(PATH, params={"product": "euro-editor", "code": " "}).json()
    assert (price["amount"], price["currency"], price["amount_sats"], price["code"]) == (1_999, "EUR", 0, None)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"product": "none"}, 404),
        ({"product": "editor", "code": "NONE"}, 404),
        ({"product": "No Slug"}, 400),
        ({}, 400),
    ],
)
def test_preview_refuses_what_is_not_sold(api, query, status):
    assert api.get(PATH, params=query).status_code == status


def test_guesses_at_codes_are_limited(api, setting, empty_broker):
    setting(KEYSAT_RATE_PURCHASE="3/minute")
    guesses = [api.get(PATH, params={"product": "editor", "code": f"GUESS{n}"}).status_code for n in range(4)]
    assert guesses == [404, 404, 404, 429]
