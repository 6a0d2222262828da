"""Paying the rest of a short payment over HTTP."""

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.core.errors import RemoteUnavailable
from keysat.invoices.draft import IN_PROGRESS
from keysat.models import Invoice
from tests.builders import PRICE, invoice_of, load_invoice, load_licenses, set_account, set_columns
from tests.rests import PART, PART_OF_REST, REST, check_and_issue, say

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def bought(api, fake_shop):
    """A purchase of which a part was paid, as the API described it at its start."""
    started = api.post("/v1/purchase", {"product": "editor", "buyer_email": "buyer@example.com"}).json()
    say(fake_shop, load_invoice(invoice_of(started["invoice_id"])), "expired", "partial", PART)
    return started


def newest(fake):
    """The invoice that was opened last."""
    return load_invoice(invoice_of(fake.wanted[-1].order_id))


def drafts():
    """The invoices that aren't at the provider."""
    with reading() as session:
        return session.scalars(select(Invoice).where(Invoice.provider_invoice_id.is_(None))).all()


def test_rest_is_paid_and_the_purchase_polled_for_its_license(api, fake_shop, signer, bought):
    token = bought["invoice_id"]
    polled = api.get(f"/v1/purchase/{token}").json()
    assert (polled["state"], polled["paid_amount"], polled["missing_amount"]) == ("short", PART, REST)
    opened = api.post(f"/v1/purchase/{token}/rest").json()
    rest = newest(fake_shop)
    assert (opened["btcpay_invoice_id"], opened["checkout_url"]) == (rest.provider_invoice_id, rest.checkout_url)
    assert (opened["amount"], opened["amount_sats"], opened["discount_applied_sats"]) == (REST, REST, 0)
    assert (opened["invoice_id"], opened["poll_url"]) == (token, bought["poll_url"])
    assert "license_key" not in opened
    assert fake_shop.wanted[-1].redirect_url.endswith(f"/p/{token}")
    say(fake_shop, rest, "settled", paid=REST)
    for invoice in (rest, load_invoice(rest.rest_of_id)):
        check_and_issue(invoice, signer)
    polled = api.get(f"/v1/purchase/{token}").json()
    assert (polled["status"], polled["state"], polled["missing_amount"]) == ("settled", "licensed", None)
    assert polled["license_id"] == str(load_licenses()[0].id)


def test_repeated_request_gets_the_same_rest(api, fake_shop, bought):
    first, second = (api.post(f"/v1/purchase/{bought['invoice_id']}/rest").json() for _ in range(2))
    assert first == second
    assert len(fake_shop.wanted) == 2


def test_rest_that_was_short_itself_is_completed(api, fake_shop, bought):
    path = f"/v1/purchase/{bought['invoice_id']}"
    api.post(f"{path}/rest")
    say(fake_shop, newest(fake_shop), "expired", "partial", PART_OF_REST)
    assert api.get(path).json()["missing_amount"] == REST - PART_OF_REST
    assert [api.post(f"{path}/rest").json()["amount"] for _ in range(2)] == [REST - PART_OF_REST] * 2
    assert len(fake_shop.wanted) == 3


def test_poll_tells_of_all_parts_together(api, fake_shop, bought, signer):
    path = f"/v1/purchase/{bought['invoice_id']}"

    def poll():
        told = api.get(path).json()
        return told["state"], told["paid_amount"], told["missing_amount"]

    api.post(f"{path}/rest")
    assert poll() == ("unchecked", PART, REST)
    rest = newest(fake_shop)
    say(fake_shop, rest, "expired", "partial", PART_OF_REST)
    assert poll() == ("short", PART + PART_OF_REST, REST - PART_OF_REST)
    api.post(f"{path}/rest")
    last = newest(fake_shop)
    say(fake_shop, last, "processing", paid=REST - PART_OF_REST)
    assert poll() == ("seen", PRICE, None)
    assert api.get(path).json()["seen_at"] is not None
    say(fake_shop, last, "settled", paid=REST - PART_OF_REST)
    for invoice in (last, rest, load_invoice(rest.rest_of_id)):
        check_and_issue(invoice, signer)
    assert poll() == ("licensed", PRICE, None)


def test_request_goes_on_with_the_rest_that_a_failed_one_left(api, fake_shop, bought):
    path = f"/v1/purchase/{bought['invoice_id']}/rest"
    fake_shop.trouble = RemoteUnavailable("the fake provider is down.")
    assert api.post(path).status_code == 502
    fake_shop.trouble = None
    refused = api.post(path)
    assert (refused.status_code, "idempotency" in refused.json()["message"]) == (409, False)
    [draft] = drafts()
    set_columns(draft.id, asked_at=func.now() - IN_PROGRESS)
    assert api.post(path).status_code == 200
    assert not load_invoice(draft.id).is_draft


@pytest.mark.parametrize("secret", ["", ".", ".wrong"])
def test_only_the_secret_opens_a_rest(api, fake_shop, bought, secret):
    plain = bought["invoice_id"].partition(".")[0]
    assert api.post(f"/v1/purchase/{plain}{secret}/rest").status_code == 404
    assert len(fake_shop.wanted) == 1


def test_nothing_is_opened_where_nothing_is_missing(api, fake_shop):
    token = api.post("/v1/purchase", {"product": "editor"}).json()["invoice_id"]
    for status in ("pending", "expired"):
        say(fake_shop, load_invoice(invoice_of(token)), status)
        assert api.post(f"/v1/purchase/{token}/rest").status_code == 409
    assert len(fake_shop.wanted) == 1


def test_account_that_does_not_sell_now_opens_none(api, bought):
    set_account(paused_at=func.now(), pause_reason="by hand")
    assert api.post(f"/v1/purchase/{bought['invoice_id']}/rest").status_code == 503


def test_rest_whose_payment_was_seen_is_not_paid_twice(api, fake_shop, bought):
    path = f"/v1/purchase/{bought['invoice_id']}"
    api.post(f"{path}/rest")
    rest = newest(fake_shop)
    say(fake_shop, rest, "pending", "partial", PART_OF_REST)
    assert api.post(f"{path}/rest").json()["btcpay_invoice_id"] == rest.provider_invoice_id, "a part is completed"
    say(fake_shop, rest, "processing", paid=REST)
    refused = api.post(f"{path}/rest")
    assert (refused.status_code, "was seen" in refused.json()["message"]) == (409, True)
    assert api.get(path).json()["state"] == "seen"
    say(fake_shop, rest, "settled", paid=REST)
    assert api.post(f"{path}/rest").status_code == 409
    assert len(fake_shop.wanted) == 2


def test_rest_that_settled_for_less_is_completed(api, fake_shop, bought):
    """As by a provider that settles what a merchant marked, or what is a little less."""
    path = f"/v1/purchase/{bought['invoice_id']}"
    api.post(f"{path}/rest")
    rest = say(fake_shop, newest(fake_shop), "settled", paid=PART_OF_REST)
    assert (rest.status, rest.review_reason) == ("pending", "amount")
    assert api.get(path).json()["missing_amount"] == REST - PART_OF_REST
    assert api.post(f"{path}/rest").json()["amount"] == REST - PART_OF_REST
