"""Providers' webhooks: stored once as received, confirmed at once. Forged ones leave nothing behind."""

import hashlib
import hmac
import json
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from keysat.accounts.inbox import MAX_ATTEMPTS, claim_events
from keysat.accounts.manage import NewAccount, add_account
from keysat.core.db import reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import AuditLine, ProviderEvent
from keysat.providers.base import ProviderStatus
from keysat.tasks.tasks import handle_provider_event
from tests.builders import SECRET, load_account, load_invoice, make_account, make_invoice, set_columns
from tests.nodes import wait_until

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")

STORE_ID = "btcpay-store"


@pytest.fixture
def account(fake):
    """A BTCPay account whose server is never called here. The invoices are at the fake provider."""
    return make_account("btcpay", kind="btcpay", base_url="http://127.0.0.1:9", store_id=STORE_ID)


@pytest.fixture
def invoice(fake):
    return make_invoice()


def signed(body, secret=SECRET):
    return {"BTCPay-Sig": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def event(invoice_id="theirs", kind="InvoiceSettled", **more):
    fields = {"deliveryId": uuid4().hex, "type": kind, "storeId": STORE_ID, "invoiceId": invoice_id, **more}
    return json.dumps(fields, indent=1).encode()  # white space that a parser would lose


def fake_event(invoice_id):
    return json.dumps({"deliveryId": uuid4().hex, "type": "paid", "invoiceId": invoice_id}).encode()


def deliver(api, account, body, headers=None):
    headers = signed(body) if headers is None else headers
    return api.post(f"/v1/{account.kind}/webhook/{account.id}", data=body, headers=headers)


def deliver_fake(api, invoice_id):
    body = fake_event(invoice_id)
    return deliver(api, load_account(), body, {"fake-sig": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()})


def events():
    with reading() as session:
        return session.scalars(select(ProviderEvent).order_by(ProviderEvent.id)).all()


def run_events():
    """What the worker does with the messages."""
    for event in events():
        handle_provider_event.apply(args=[str(event.id)], throw=True)


def test_webhook_is_stored_as_it_came_and_a_message_is_sent(api, account, empty_broker):
    body = event()
    answer = deliver(api, account, body)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "duplicate": False})
    (kept,) = events()
    assert kept.body == body
    assert (kept.kind, kept.provider_invoice_id, kept.handled_at) == ("InvoiceSettled", "theirs", None)
    wait_until(lambda: empty_broker.llen("issue") == 1)
    assert load_account("btcpay").last_event_at is not None


def test_second_copy_of_a_delivery_changes_nothing(api, account, empty_broker):
    body = event()
    assert [deliver(api, account, body).json()["duplicate"] for _ in range(3)] == [False, True, True]
    assert len(events()) == 1
    wait_until(lambda: empty_broker.llen("issue") == 1)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"BTCPay-Sig": ""},
        {"BTCPay-Sig": "sha256="},
        {"BTCPay-Sig": "sha256=" + "0" * 64},
        signed(b"another body"),
    ],
    ids=["none", "empty", "prefix only", "wrong", "of another body"],
)
def test_forged_webhook_is_not_stored(api, account, empty_broker, headers):
    answer = deliver(api, account, event(), headers)
    assert answer.status_code == 401
    assert events() == []
    assert empty_broker.dbsize() <= 1  # the rate limit's counter
    assert load_account("btcpay").last_event_at is None


@pytest.mark.parametrize("secret", ["", "another-secret-of-24-bytes-or-more"])
def test_signature_with_another_secret_is_refused(api, account, secret):
    body = event()
    assert deliver(api, account, body, signed(body, secret)).status_code == 401


def test_webhook_account_without_secret(api, fake):
    """A webhook to an account without a secret is refused, also with the signature of an empty secret."""
    with transaction() as session:
        open_one = add_account(
            session,
            secret_box(load_settings()),
            NewAccount(
                name="open",
                kind="btcpay",
                base_url="http://127.0.0.1:9",
                store_id=STORE_ID,
                api_key="made-up",
            ),
            actor="cli",
        )
    body = event()
    assert deliver(api, open_one, body, signed(body, "")).status_code == 401


def test_unknown_account_or_kind_is_not_found(api, account):
    body = event()
    for path in (f"/v1/btcpay/webhook/{uuid4()}", f"/v1/fake/webhook/{account.id}", f"/v1/x/webhook/{account.id}"):
        assert api.post(path, data=body, headers=signed(body)).status_code == 404
    assert api.post("/v1/btcpay/webhook/nonsense", data=body, headers=signed(body)).status_code == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"deliveryId": "\\u0000", "type": "x"}'])
def test_signed_nonsense_is_refused_in_a_sentence(api, account, body):
    answer = deliver(api, account, body)
    assert (answer.status_code, answer.json()["message"]) == (400, "the webhook's body is not an event.")
    assert events() == []


def test_body_over_64_kilobytes_is_refused(api, account):
    assert deliver(api, account, event(filling="x" * 65_536)).status_code == 413
    assert events() == []


def test_test_delivery_is_stored_without_a_check(api, account):
    deliver(api, account, event("__test__1234__test__"))
    run_events()
    (kept,) = events()
    assert kept.provider_invoice_id is None
    assert kept.handled_at is not None


def test_event_causes_check(api, invoice, fake):
    """An event causes a check, with the same decision as a scheduled one."""
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=21_000)
    asked = fake.requests
    deliver_fake(api, invoice.provider_invoice_id)
    assert fake.requests == asked, "nobody is asked before the webhook is answered"
    run_events()
    assert (load_invoice(invoice.id).status, fake.requests) == ("settled", asked + 1)
    with reading() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.action == "invoice.settled")).one()
    assert line.actor == "webhook"


def test_event_paid_is_only_hint(api, invoice, fake):
    """An event that reports a payment doesn't settle the invoice."""
    deliver_fake(api, invoice.provider_invoice_id)
    run_events()
    assert load_invoice(invoice.id).status == "pending"
    assert events()[0].handled_at is not None


def test_event_about_unknown_invoice_causes_no_check(api, invoice, fake):
    asked = fake.requests
    deliver_fake(api, "an-invoice-of-another-shop")
    run_events()
    assert events()[0].handled_at is not None
    assert fake.requests == asked


def test_one_question_answers_all_events_that_came_before_it(api, invoice, fake):
    for _ in range(50):
        deliver_fake(api, invoice.provider_invoice_id)
    asked = fake.requests
    run_events()
    assert all(event.handled_at for event in events())
    assert fake.requests == asked + 1


def test_event_that_came_after_the_question_is_asked_about_again(api, invoice, fake):
    deliver_fake(api, invoice.provider_invoice_id)
    run_events()
    asked = fake.requests
    deliver_fake(api, invoice.provider_invoice_id)
    run_events()
    assert fake.requests == asked + 1


def test_event_names_a_draft_by_our_id(api, invoice, fake):
    theirs = invoice.provider_invoice_id
    set_columns(invoice.id, provider_invoice_id=None, checkout_url=None)
    body = json.dumps({"deliveryId": "1", "type": "created", "invoiceId": theirs}).encode()
    account = load_account()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    deliver(api, account, body, {"fake-sig": signature})
    with transaction() as session:
        session.execute(ProviderEvent.__table__.update().values(order_id=invoice.id))
    run_events()
    assert load_invoice(invoice.id).provider_invoice_id == theirs


def test_lost_message_is_sent_again_by_the_scan(api, account):
    deliver(api, account, event())
    assert claimed() == []
    make_owed()
    (again,) = claimed()
    assert (again.row_id, claimed()) == (events()[0].id, [])


def test_event_without_response_gives_up(api, account):
    """An event with too many attempts is left to the invoice's schedule."""
    deliver(api, account, event())
    with transaction() as session:
        session.execute(ProviderEvent.__table__.update().values(attempts=MAX_ATTEMPTS))
    make_owed()
    assert len(claimed()) == 1
    assert events()[0].next_attempt_at is None


def make_owed():
    with transaction() as session:
        session.execute(ProviderEvent.__table__.update().values(next_attempt_at=func.now()))


def claimed():
    with transaction() as session:
        return claim_events(session, 10)


def test_flood_is_limited_for_each_account(api, account, monkeypatch):
    monkeypatch.setenv("KEYSAT_RATE_WEBHOOK", "5/minute")
    load_settings.cache_clear()
    try:
        answers = [deliver(api, account, event()) for _ in range(8)]
    finally:
        monkeypatch.undo()
        load_settings.cache_clear()
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert len(events()) == 5
