"""Buying on the page, over HTTP."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.changes import change_policy, change_product
from keysat.catalog.products import add_policy
from keysat.catalog.terms import Display, Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.core.errors import CredentialsRejected, RemoteUnavailable
from keysat.models import DiscountCode, Invoice
from keysat.models.discount_code import CodeKind
from keysat.web.tokens import page_of
from tests.builders import (
    check_invoice,
    invoice_of,
    issue_now,
    load_invoice,
    load_licenses,
    set_account,
    set_columns,
)
from tests.web.pages.conftest import form_key, text_of

pytestmark = pytest.mark.usefixtures("empty_database")


def newest_page():
    """The path of the newest purchase's page."""
    with reading() as session:
        return page_of(session.scalars(select(Invoice.id).order_by(Invoice.id.desc()).limit(1)).one())


def count_invoices():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Invoice))


def give_code(code="SPRING", kind=CodeKind.PERCENT, amount=2_500, **facts):
    with transaction() as session:
        add_code(session, NewCode(code, kind, amount, **facts), actor="cli")


def uses():
    with reading() as session:
        return session.scalars(select(DiscountCode.uses)).one()


def test_whole_path_ends_at_the_key(browser, buy, shop, signer):
    bought = buy(email="buyer@example.com")
    assert bought.status_code == 303
    assert bought.headers["location"].startswith(shop.url + "/i/")
    mine = newest_page()
    assert "Waiting for your payment" in text_of(browser.get(mine))
    invoice_id = invoice_of(mine.rpartition("/")[2])
    assert load_invoice(invoice_id).buyer_email == "buyer@example.com"
    shop.pay(bought.headers["location"].rpartition("/")[2])
    check_invoice(invoice_id)
    issue_now(invoice_id, signer.key_id)
    (owned,) = load_licenses(invoice_id)
    assert signer.key_for(owned) in text_of(browser.get(mine))


def test_checkout_leads_back_to_the_page(browser, buy, shop):
    checkout = browser.session.get(buy().headers["location"], timeout=60)
    assert f'href="{newest_page()}"' in checkout.text


def test_checkout_elsewhere_is_reached_by_a_page_of_ours(browser, buy, fake_shop):
    """A form may not be redirected to an origin that its page doesn't name."""
    sent = buy()
    assert sent.status_code == 303
    assert sent.headers["location"] == f"{newest_page()}/pay"
    assert browser.get(sent.headers["location"]).status_code == 200


def test_form_sent_twice_is_one_purchase(browser, shop):
    fields = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "do": "buy"}
    first, second = (browser.post("/buy/editor", **fields) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert count_invoices() == 1
    assert browser.post("/buy/editor", **fields, email="b@example.com").status_code == 303
    assert count_invoices() == 2


def test_code_is_shown_before_it_is_used(browser, buy, fake_shop):
    give_code(max_uses=1)
    shown = buy(code=" spring ", email="buyer@example.com", do="apply")
    assert shown.status_code == 200
    assert "15,750" in text_of(shown)
    assert "Code spring is applied." in text_of(shown)
    assert 'value="buyer@example.com"' in shown.text
    assert (uses(), count_invoices()) == (0, 0)
    assert buy(code="spring").status_code == 303
    assert uses() == 1
    assert "This code is used up." in text_of(buy(code="spring"))


def test_code_in_the_address_is_applied(browser, fake_shop):
    give_code()
    shown = browser.get("/buy/editor?code=SPRING&email=buyer@example.com&policy=standard")
    assert "15,750" in text_of(shown)
    assert 'value="buyer@example.com"' in shown.text


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"code": "WINTER"}, "There is no such code."),
        ({"code": "nul\0"}, "There is no such code."),
        ({"code": "OLD"}, "be used here: it is over"),
        ({"email": "nobody"}, "look like an e-mail address."),
        ({"policy": "none-such"}, "Choose one of the licenses below."),
    ],
)
def test_mistake_is_named_and_nothing_lost(buy, fake_shop, typed, sentence):
    give_code("OLD")
    with transaction() as session:
        session.scalars(select(DiscountCode)).one().expires_at = func.now() - timedelta(days=1)
    fields = {"email": "buyer@example.com", "code": "", **typed}
    shown = buy(**fields)
    assert shown.status_code == 400
    assert sentence in text_of(shown)
    for name in {"email", "code"} & set(typed):
        assert f'value="{typed[name]}"' in shown.text
    assert 'value="buyer@example.com"' in shown.text or "email" in typed
    assert count_invoices() == 0


def test_free_code_ends_at_the_key(browser, buy, fake_shop, signer):
    give_code("GIFT", CodeKind.FREE_LICENSE, 0)
    sent = buy(code="gift")
    assert (sent.status_code, sent.headers["location"]) == (303, newest_page())
    (owned,) = load_licenses()
    assert signer.key_for(owned) in text_of(browser.get(newest_page()))


def test_free_policy_ends_at_the_key(browser, buy, fake_shop):
    with transaction() as session:
        trial = Terms(duration_seconds=14 * 86_400, is_trial=True, price_amount=0)
        add_policy(session, "editor", "trial", "Trial", trial, actor="cli")
    assert "Valid for 14 days" in text_of(browser.get("/buy/editor"))
    assert buy(policy="trial").headers["location"] == newest_page()
    assert "here is your license" in text_of(browser.get(newest_page()))


@pytest.mark.parametrize("trouble", [RemoteUnavailable("it is down"), CredentialsRejected("no")])
def test_provider_trouble_charges_nothing_and_keeps_the_form(buy, fake_shop, trouble):
    fake_shop.trouble = trouble
    shown = buy(email="buyer@example.com")
    assert shown.status_code == 503
    assert shown.headers["retry-after"]
    assert "Nothing was charged." in text_of(shown)
    assert 'value="buyer@example.com"' in shown.text
    assert "down" not in text_of(shown)


def test_next_try_after_a_refusal_is_a_new_purchase(browser, buy, fake_shop):
    fake_shop.trouble = CredentialsRejected("no")
    key = form_key(buy())
    fake_shop.trouble = None
    set_account(paused_at=None, pause_reason=None, recheck_at=None)
    assert browser.post("/buy/editor", key=key, policy="standard", do="buy").status_code == 303


def test_second_click_waits_on_the_page(browser, fake_shop):
    """The first request is still creating the invoice at the provider."""
    fields = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "do": "buy"}
    browser.post("/buy/editor", **fields)
    invoice_id = invoice_of(newest_page().rpartition("/")[2])
    set_columns(invoice_id, provider_invoice_id=None, checkout_url=None)
    sent = browser.post("/buy/editor", **fields)
    assert (sent.status_code, sent.headers["location"]) == (303, newest_page())
    assert "Your payment is being prepared" in text_of(browser.get(newest_page()))


def test_archived_product_is_no_longer_sold(browser, buy, fake_shop):
    with transaction() as session:
        change_product(session, "editor", {"archived": True}, "cli")
    shown = browser.get("/buy/editor")
    assert shown.status_code == 410
    assert "Editor is no longer sold." in text_of(shown)
    assert browser.post("/buy/editor", do="buy").status_code == 410


@pytest.mark.parametrize("path", ["/buy/none-such", "/buy/..%2f..", "/buy/%00", "/buy/UPPER"])
def test_unknown_product_is_a_page(browser, fake_shop, path):
    shown = browser.get(path)
    assert shown.status_code == 404
    if path != "/buy/..%2f..":
        assert "Page not found" in text_of(shown)


def test_same_again_is_filled_in(browser, buy, fake_shop):
    give_code()
    buy(code="spring", email="buyer@example.com")
    secret = newest_page().rpartition("/")[2]
    shown = browser.get(f"/buy/editor?again={secret}")
    assert 'value="buyer@example.com"' in shown.text
    assert 'value="SPRING"' in shown.text
    assert browser.get(f"/buy/editor?again={secret[:-1]}").status_code == 404


def test_featured_code_is_offered_until_one_is_typed(browser, fake_shop):
    give_code(featured=True, amount=1_250)
    shown = browser.get("/buy/editor")
    assert "Use the code SPRING : 12.5 % off" in text_of(shown)
    assert 'href="/buy/editor?code=SPRING"' in shown.text
    assert "Code SPRING verwenden : 12,5 % weniger" in text_of(browser.get("/buy/editor?lang=de"))
    assert "Use the code" not in text_of(browser.get("/buy/editor?code=SPRING"))


@pytest.mark.parametrize("currency", ["EUR", "XAU"])
def test_featured_code_in_another_currency_than_the_price_is_not_offered(browser, fake_shop, currency):
    """Nobody could use it for this product. One of a newer version's currency stops no purchase."""
    with transaction() as session:
        add_code(session, NewCode("OTHER", CodeKind.SET_PRICE, 500, currency="EUR", featured=True), actor="cli")
        session.execute(update(DiscountCode).values(currency=currency))
    shown = browser.get("/buy/editor")
    assert shown.status_code == 200
    assert "OTHER" not in shown.text
    assert browser.get("/v1/products/editor").json()["featured_codes"] == []


def test_link_with_a_code_for_another_policy_chooses_that_policy(browser, fake_shop):
    with transaction() as session:
        product_id = add_policy(session, "editor", "pro", "Pro", Terms(), actor="cli").product_id
    give_code(product_id=product_id, policies=("pro",))
    assert 'value="pro" checked' in browser.get("/buy/editor?code=SPRING").text


def test_code_limited_by_buyer_asks_for_the_address_and_counts_it(buy, fake_shop):
    give_code(max_uses_per_buyer=1)
    assert "This code needs your e-mail address." in text_of(buy(code="SPRING"))
    assert buy(code="SPRING", email="buyer@example.com").status_code == 303
    assert "was used with your e-mail address already" in text_of(buy(code="SPRING", email="BUYER@example.com"))
    assert uses() == 1


def test_hidden_policy_is_shown_to_those_who_name_it(browser, buy, fake_shop):
    with transaction() as session:
        display = Display(bullets=("For friends & <family>",), hidden=True)
        add_policy(session, "editor", "friends", "Friends", Terms(), display=display, actor="cli")
    assert "Friends" not in text_of(browser.get("/buy/editor"))
    named = browser.get("/buy/editor?policy=friends")
    assert 'value="friends" checked' in named.text
    assert "For friends & <family>" in text_of(named)
    assert buy(policy="friends").status_code == 303


def test_product_whose_policies_are_all_hidden_is_sold_to_those_who_name_one(browser, fake_shop):
    with transaction() as session:
        change_policy(session, "editor", "standard", {"hidden": True}, "cli")
    assert "Editor" not in text_of(browser.get("/"))
    assert browser.get("/buy/editor").status_code == 404
    assert browser.get("/buy/editor?policy=standard").status_code == 200
