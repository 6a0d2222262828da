"""Buying over HTTP, in the shapes that published clients read."""

import threading
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import func, select

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.core.errors import CredentialsRejected, RemoteRefused, RemoteUnavailable
from keysat.core.money import Money
from keysat.invoices.draft import IN_PROGRESS
from keysat.licenses.edit import replace_key, transfer_license
from keysat.licenses.keys import verify
from keysat.models import Invoice, License
from keysat.models.discount_code import CodeKind
from keysat.providers.base import ProviderStatus
from keysat.web import bulkhead
from tests.builders import (
    check_invoice,
    invoice_of,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_catalog,
    set_account,
    set_columns,
    set_license,
)

pytestmark = pytest.mark.usefixtures("empty_database")

WANTED = {"product": "editor", "buyer_email": "buyer@example.com", "buyer_note": "two lines\nof text"}
KEY = {"Idempotency-Key": "3f1f0f0e-7b1e-4f5e-9d6a-000000000001"}


def count(table):
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def give_code():
    with transaction() as session:
        add_code(session, NewCode("GIFT", CodeKind.FREE_LICENSE), actor="cli")


def test_purchase_has_the_contracts_fields(api, fake_shop):
    started = api.post("/v1/purchase", WANTED).json()
    invoice = load_invoice(invoice_of(started["invoice_id"]))
    assert started["btcpay_invoice_id"] == invoice.provider_invoice_id
    assert started["checkout_url"] == invoice.checkout_url
    assert (started["amount_sats"], started["base_price_sats"], started["discount_applied_sats"]) == (21000, 21000, 0)
    assert started["poll_url"].endswith(f"/v1/purchase/{started['invoice_id']}")
    assert not {"license_key", "license_id"} & set(started)
    assert (invoice.buyer_email, invoice.buyer_note) == ("buyer@example.com", "two lines\nof text")


def test_poll_shows_each_step_and_the_license(api, fake_shop, signer):
    started = api.post("/v1/purchase", WANTED).json()
    invoice = load_invoice(invoice_of(started["invoice_id"]))

    def poll():
        return api.get(f"/v1/purchase/{invoice.id}").json()

    assert poll() == {
        "invoice_id": str(invoice.id),
        "status": "pending",
        "state": "unchecked",
        "product_id": str(invoice.product_id),
        "amount_sats": 21_000,
        "amount": 21_000,
        "currency": "BTC",
        "paid_amount": None,
        "missing_amount": None,
        "seen_at": None,
        "expires_at": f"{invoice.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "license_key": None,
        "license_id": None,
    }
    fake_shop.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=21_000)
    check_invoice(invoice.id)
    assert (poll()["status"], poll()["license_key"]) == ("settled", None)
    issue_now(invoice.id, signer.key_id)
    (owned,) = load_licenses(invoice.id)
    assert poll()["license_id"] == str(owned.id)
    assert verify(poll()["license_key"], signer.public_key).license_id == owned.id


def test_poll_shows_a_payment_before_it_counts(api, fake_shop, signer):
    """A buyer who paid sees that it was noticed, and how much is missing."""
    token = api.post("/v1/purchase", WANTED).json()["invoice_id"]
    invoice = load_invoice(invoice_of(token))

    def polled(status, paid):
        fake_shop.say(invoice.provider_invoice_id, status, paid=paid)
        check_invoice(invoice.id)
        purchase = api.get(f"/v1/purchase/{token}").json()
        assert purchase["seen_at"] is not None
        return purchase["status"], purchase["state"], purchase["paid_amount"]

    assert polled(ProviderStatus.PENDING, 4_000) == ("pending", "part_paid", 4_000)
    assert polled(ProviderStatus.PROCESSING, 21_000) == ("pending", "seen", 21_000)
    assert polled(ProviderStatus.SETTLED, 21_000) == ("settled", "license_due", 21_000)
    issue_now(invoice.id, signer.key_id)
    assert api.get(f"/v1/purchase/{token}").json()["state"] == "licensed"


def test_purchase_of_a_transferred_license_shows_no_key(api, fake_shop):
    """Neither to a poll with the secret nor to a repeated redemption."""
    give_code()
    wanted = {"product": "editor", "code": "gift"}
    redeemed = api.post("/v1/redeem", wanted, headers=KEY).json()
    with transaction() as session:
        transfer_license(session, UUID(redeemed["license_id"]), "new@example.com", "cli", "sold")
    polled = api.get(f"/v1/purchase/{redeemed['invoice_id']}").json()
    assert (polled["status"], polled["license_key"], polled["license_id"]) == ("settled", None, None)
    assert api.post("/v1/redeem", wanted, headers=KEY).status_code == 404


@pytest.mark.parametrize("status", [ProviderStatus.EXPIRED, ProviderStatus.INVALID])
def test_poll_shows_an_end_without_payment(api, fake_shop, status):
    started = api.post("/v1/purchase", WANTED).json()
    fake_shop.say(started["btcpay_invoice_id"], status)
    check_invoice(load_invoice(invoice_of(started["invoice_id"])).id)
    assert api.get(f"/v1/purchase/{started['invoice_id']}").json()["status"] == status


def test_unknown_purchase_is_not_found(api, fake_shop):
    assert api.get("/v1/purchase/01a21076-4515-7464-8cda-93e2d050f870").status_code == 404
    assert api.get("/v1/purchase/nonsense").status_code == 404


def test_product_priced_in_euro_is_charged_in_euro_and_its_sats_are_zero(api, fake_shop):
    make_catalog("euro-editor", Money(1_999, "EUR"))
    started = api.post("/v1/purchase", {"product": "euro-editor"}).json()
    assert fake_shop.snapshots[started["btcpay_invoice_id"]].charged == Money(1_999, "EUR")
    assert (started["amount_sats"], started["amount"], started["currency"]) == (0, 1_999, "EUR")
    (policy,) = api.get("/v1/products/euro-editor/policies").json()["policies"]
    assert (policy["price_sats"], policy["price_amount"], policy["price_currency"]) == (0, 1_999, "EUR")


def test_what_costs_nothing_comes_with_its_license(api, fake_shop, signer):
    with transaction() as session:
        add_policy(session, "editor", "trial", "Trial", Terms(price_amount=0, is_trial=True), actor="cli")
    started = api.post("/v1/purchase", {"product": "editor", "policy_slug": "trial"}).json()
    assert str(verify(started["license_key"], signer.public_key).license_id) == started["license_id"]
    assert (started["amount_sats"], started["checkout_url"], started["btcpay_invoice_id"]) == (0, "", "")
    assert api.get(f"/v1/purchase/{started['invoice_id']}").json()["license_key"] == started["license_key"]
    assert fake_shop.requests == 0


def test_redeemed_code_gives_a_license(api, fake_shop, signer):
    give_code()
    redeemed = api.post("/v1/redeem", {"product": "editor", "code": "gift"}).json()
    assert set(redeemed) == {"license_id", "license_key", "invoice_id", "redemption_id"}
    assert str(verify(redeemed["license_key"], signer.public_key).license_id) == redeemed["license_id"]


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (RemoteUnavailable("http://10.0.0.7 is down"), 502),
        (RemoteRefused("http://10.0.0.7 refused (422): {secret}"), 502),
        (CredentialsRejected("http://10.0.0.7 rejected our credentials"), 502),
    ],
)
def test_purchase_provider_failure(api, fake_shop, trouble, status):
    """A failing provider is an upstream error that names no address."""
    fake_shop.trouble = trouble
    answer = api.post("/v1/purchase", WANTED)
    assert answer.status_code == status
    assert "10.0.0.7" not in answer.text


def test_account_that_cannot_be_called_is_unavailable_and_not_described(api, shop):
    set_account(kind="unknown")
    answer = api.post("/v1/purchase", WANTED)
    assert answer.status_code == 503
    assert "main" not in answer.text


def test_shop_without_a_payment_provider_says_unavailable(api, fake):
    make_catalog()
    assert api.post("/v1/purchase", WANTED).status_code == 503


def test_rejected_credentials_pause_account(api, fake_shop):
    """The next purchase reports the paused account."""
    fake_shop.trouble = CredentialsRejected("rejected (401)")
    api.post("/v1/purchase", WANTED)
    assert load_account().pause_reason == "rejected (401)"
    answer = api.post("/v1/purchase", WANTED)
    assert answer.status_code == 503
    assert "keysat provider" not in answer.text


def test_same_key_and_body_give_the_same_answer_and_one_purchase(api, fake_shop):
    answers = [api.post("/v1/purchase", WANTED, headers=KEY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.text for answer in answers}) == 1
    assert count(Invoice) == fake_shop.requests == 1


def test_answer_is_the_same_after_the_invoice_moved_on(api, fake_shop, signer):
    first = api.post("/v1/purchase", WANTED, headers=KEY).json()
    fake_shop.say(first["btcpay_invoice_id"], ProviderStatus.SETTLED, paid=21_000)
    invoice_id = load_invoice(invoice_of(first["invoice_id"])).id
    check_invoice(invoice_id)
    issue_now(invoice_id, signer.key_id)
    assert api.post("/v1/purchase", WANTED, headers=KEY).json() == first


def test_same_key_with_another_body_conflicts(api, fake_shop):
    api.post("/v1/purchase", WANTED, headers=KEY)
    answer = api.post("/v1/purchase", {**WANTED, "buyer_email": "other@example.com"}, headers=KEY)
    assert answer.status_code == 409
    assert count(Invoice) == 1


def test_same_key_for_purchase_and_redeem_are_two_keys(api, fake_shop):
    give_code()
    assert api.post("/v1/purchase", WANTED, headers=KEY).status_code == 200
    assert api.post("/v1/redeem", {"product": "editor", "code": "GIFT"}, headers=KEY).status_code == 200


def test_code_is_redeemed_once_under_one_key(api, fake_shop):
    give_code()
    answers = {api.post("/v1/redeem", {"product": "editor", "code": "GIFT"}, headers=KEY).text for _ in range(3)}
    assert len(answers) == count(License) == 1


def test_twenty_at_once_with_one_key_make_one_purchase(web_url, api, fake_shop, monkeypatch):
    monkeypatch.setattr(bulkhead, "WAIT_SECONDS", 120)  # a busy machine lets them wait for longer
    statuses = []

    def buy():
        statuses.append(api.post("/v1/purchase", WANTED, headers=KEY).status_code)

    buyers = [threading.Thread(target=buy) for _ in range(20)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert count(Invoice) == fake_shop.requests == 1
    assert api.post("/v1/purchase", WANTED, headers=KEY).status_code == 200


def test_retry_after_a_lost_answer_finds_the_invoice(api, fake_shop):
    fake_shop.trouble = RemoteUnavailable("silence")
    assert api.post("/v1/purchase", WANTED, headers=KEY).status_code == 502
    fake_shop.trouble = None
    set_account(failure_count=0)
    assert api.post("/v1/purchase", WANTED, headers=KEY).status_code == 409
    with reading() as session:
        draft = session.scalars(select(Invoice)).one()
    set_columns(draft.id, asked_at=draft.asked_at - IN_PROGRESS - timedelta(seconds=1))
    answer = api.post("/v1/purchase", WANTED, headers=KEY)
    assert invoice_of(answer.json()["invoice_id"]) == draft.id


@pytest.mark.parametrize("key", ["", "with space", "x" * 201, "ü"])
def test_key_of_another_form_is_refused(api, fake_shop, key):
    answer = api.post("/v1/purchase", WANTED, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 400
    assert count(Invoice) == 0


def buy(api):
    return api.post("/v1/purchase", {"product": "editor"}).json()


def age_license(invoice_id, **ago):
    [owned] = load_licenses(invoice_id)
    set_license(owned.id, issued_at=func.now() - timedelta(**ago))


def test_key_shown_by_secret_or_id(api, fake_shop, signer):
    """The secret shows the key at any time, and the plain id for one hour."""
    started = buy(api)
    invoice_id = invoice_of(started["invoice_id"])
    fake_shop.say(started["btcpay_invoice_id"], ProviderStatus.SETTLED, paid=21_000)
    check_invoice(invoice_id)
    issue_now(invoice_id, signer.key_id)
    plain = f"/v1/purchase/{invoice_id}"
    assert api.get(plain).json()["license_key"].startswith("LIC1-")
    age_license(invoice_id, hours=1, minutes=1)
    hidden = api.get(plain).json()
    assert (hidden["status"], hidden["license_key"], hidden["license_id"]) == ("settled", None, None)
    shown = api.get(f"/v1/purchase/{started['invoice_id']}").json()
    assert shown["license_key"].startswith("LIC1-")
    assert shown["invoice_id"] == started["invoice_id"]


def test_plain_id_never_shows_a_replaced_key(api, fake_shop, signer):
    """What leaked may be that id."""
    started = buy(api)
    invoice_id = invoice_of(started["invoice_id"])
    fake_shop.say(started["btcpay_invoice_id"], ProviderStatus.SETTLED, paid=21_000)
    check_invoice(invoice_id)
    issue_now(invoice_id, signer.key_id)
    [owned] = load_licenses(invoice_id)
    with transaction() as session:
        replace_key(session, owned.id, "cli", "leaked")
    assert api.get(f"/v1/purchase/{invoice_id}").json()["license_key"] is None
    assert api.get(f"/v1/purchase/{started['invoice_id']}").json()["license_key"].startswith("LIC1-")


@pytest.mark.parametrize("secret", ["", "x", "A" * 43, "\udcff", "another"])
def test_wrong_secret_is_answered_as_no_purchase(api, fake_shop, secret):
    first, second = buy(api)["invoice_id"], buy(api)["invoice_id"]
    secret = second.partition(".")[2] if secret == "another" else quote(secret, errors="surrogatepass")
    answer = api.get(f"/v1/purchase/{invoice_of(first)}.{secret}")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_retry_under_the_same_idempotency_key_gets_the_same_secret(api, fake_shop):
    headers = {"Idempotency-Key": "retry-me"}
    bodies = [api.post("/v1/purchase", {"product": "editor"}, headers=headers).json() for _ in range(2)]
    assert bodies[0]["invoice_id"] == bodies[1]["invoice_id"]
