"""The page of a purchase in parts, once a payment went back or a person decided about its money."""

import pytest

from keysat.core.db import transaction
from keysat.settlement.resolve import dismiss
from keysat.web.tokens import page_of
from tests.builders import PRICE, check_invoice, issue_now, load_invoice, make_invoice
from tests.rests import PART, PART_OF_REST, REST, buy_in_three_parts, check_and_issue, open_rest, pay_twice, say
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
OVER = "more than the price"
AS_REST = "sat that you paid as the rest came in"


@pytest.fixture
def short(fake_shop):
    """A purchase that expired with a part of its price."""
    return say(fake_shop, make_invoice(), "expired", "partial", PART)


def close(invoice):
    with transaction() as session:
        dismiss(session, invoice.id, "sent back", "cli")


def complete(fake, short, signer):
    """Pay the rest, and issue the license. Returns the rest."""
    rest = say(fake, open_rest(short.id), "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    check_and_issue(short, signer)
    return rest


@pytest.mark.parametrize(("language", "decides"), [("en", "the seller decides"), ("de", "Der Verkäufer entscheidet")])
def test_first_payment_that_went_back_leaves_the_rest_to_the_seller(
    browser, fake_shop, signer, short, language, decides
):
    complete(fake_shop, short, signer)
    say(fake_shop, short, "invalid")
    words = text_of(browser.get(f"{page_of(short.id)}?lang={language}"))
    assert {"en": "Your payment went back", "de": "Ihre Zahlung ging zurück"}[language] in words
    assert {"en": "11,000", "de": "11.000"}[language] in words
    assert decides in words
    assert not any(wrong in words for wrong in (OVER, "mehr als den Preis", "Paid so far", "Bisher bezahlt"))


def test_payment_beyond_the_price_that_went_back_is_not_offered_back(browser, fake_shop, signer):
    invoice = say(fake_shop, make_invoice(), "settled", "over", PRICE + 1_000)
    issue_now(invoice.id, signer.key_id)
    assert OVER in text_of(browser.get(page_of(invoice.id)))
    say(fake_shop, invoice, "refunded")
    assert OVER not in text_of(browser.get(page_of(invoice.id)))


def test_rest_that_nobody_needs_is_beyond_the_price(browser, fake_shop, signer, short):
    pay_twice(fake_shop, short, signer)
    words = text_of(browser.get(page_of(short.id)))
    assert "You paid 11,000 sat more than the price." in words
    assert "Give this reference when you write to the seller." in words


def test_last_part_of_three_is_told_once_the_one_before_went_back(browser, fake_shop, signer):
    first, second, _ = buy_in_three_parts(fake_shop, signer)
    say(fake_shop, second, "refunded")
    assert f"{REST - PART_OF_REST:,} {AS_REST}" in text_of(browser.get(page_of(first.id)))


def test_dismissed_purchase_offers_no_rest_of_its_short_rest(browser, api, fake_shop, short):
    rest = say(fake_shop, open_rest(short.id), "expired", "partial", PART_OF_REST)
    close(short)
    made = len(fake_shop.wanted)
    for page in (page_of(short.id), page_of(rest.id)):  # the second is the link of the mail about the rest
        shown = browser.get(page)
        words = text_of(shown)
        assert "The seller closed this purchase" in words
        assert f"{PART_OF_REST:,} {AS_REST}" in words
        assert "/rest" not in shown.text
        assert browser.post(f"{page}/rest").headers["location"] in page
        token = page.rpartition("/")[2]
        assert api.post(f"/v1/purchase/{token}/rest").status_code == 409
        assert api.get(f"/v1/purchase/{token}").json()["missing_amount"] is None
    assert api.get(f"/v1/purchase/{page_of(short.id).rpartition('/')[2]}").json()["state"] == "dismissed"
    assert len(fake_shop.wanted) == made


def test_dismissed_purchase_does_not_lead_to_the_checkout_of_its_rest(browser, fake_shop, short):
    rest = open_rest(short.id)
    page = page_of(short.id)
    close(short)
    shown = browser.get(page)
    assert "The seller closed this purchase" in text_of(shown)
    assert rest.checkout_url not in shown.text
    assert browser.get(f"{page}/pay").status_code == 303


def test_rest_of_a_dismissed_purchase_is_with_the_seller(browser, fake_shop, signer, short):
    rest = say(fake_shop, open_rest(short.id), "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    close(short)
    words = text_of(browser.get(page_of(short.id)))
    assert f"{REST:,} {AS_REST}" in words
    assert OVER not in words


def test_money_that_arrives_later_reopens_a_dismissed_purchase(browser, fake_shop, short):
    close(short)
    check_invoice(short.id)
    assert "The seller closed this purchase" in text_of(browser.get(page_of(short.id)))
    say(fake_shop, short, "expired", "partial", PART + 1)
    assert load_invoice(short.id).in_review
    assert "Pay the rest: 10,999 sat" in text_of(browser.get(page_of(short.id)))


def test_rest_that_went_back_while_the_purchase_waits_is_offered_again(browser, fake_shop, signer, short):
    rest = say(fake_shop, open_rest(short.id), "settled", paid=REST)
    issue_now(rest.id, signer.key_id)
    say(fake_shop, rest, "invalid")
    assert "Pay the rest: 11,000 sat" in text_of(browser.get(page_of(short.id)))
    assert open_rest(short.id).id != rest.id
