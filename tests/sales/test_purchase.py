"""Purchases: a draft first, then the provider's invoice. No crash in between creates a second one or leaks a slot."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from keysat.accounts.breaker import may_create
from keysat.accounts.selling import sell_with
from keysat.catalog.changes import change_product
from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.core.db import reading, transaction
from keysat.core.errors import NotFound, RemoteRefused, RemoteUnavailable, SalesUnavailable
from keysat.core.money import Money
from keysat.models import AuditLine, Invoice, Policy
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.providers.base import ProviderStatus
from keysat.sales.purchase import Order
from tests.builders import (
    PRICE,
    audit_actions,
    check_invoice,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_catalog,
    set_account,
)
from tests.builders import open_invoice as open_order


def open_invoice(product="editor", **facts):
    """Purchase, and return the invoice."""
    return load_invoice(open_order(Order(product, **facts)))


pytestmark = pytest.mark.usefixtures("empty_database")


def count(table):
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def all_invoices():
    with reading() as session:
        return list(session.scalars(select(Invoice).order_by(Invoice.id)))


def add_second_policy(slug="pro", **terms):
    with transaction() as session:
        add_policy(session, "editor", slug, slug.title(), Terms(**terms), actor="cli")


def test_provider_and_our_row_agree_on_the_invoice(fake_shop):
    invoice = open_invoice(product="editor", buyer_email="buyer@example.com", buyer_note="VIP")
    snapshot = fake_shop.snapshots[invoice.provider_invoice_id]
    assert snapshot.order_id == str(invoice.id)
    assert snapshot.charged == Money(PRICE, "BTC") == Money(invoice.amount, invoice.currency)
    assert invoice.checkout_url == f"https://pay.example/i/{invoice.provider_invoice_id}"
    assert (invoice.buyer_email, invoice.buyer_note) == ("buyer@example.com", "VIP")


def test_new_invoice_is_pending_and_due_in_half_a_minute(fake_shop):
    invoice = open_invoice(product="editor")
    assert (invoice.status, invoice.exception, invoice.check_count) == ("pending", "none", 0)
    assert invoice.next_check_at - invoice.created_at == timedelta(seconds=30)
    assert invoice.settled_at is invoice.fulfilled_at is invoice.paid_amount is None


def test_opening_has_its_line_in_the_audit_log(fake_shop):
    invoice = open_invoice(product="editor")
    assert audit_actions(invoice.id) == ["invoice.opened"]
    with reading() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.subject_id == invoice.id)).one()
    assert (line.actor, line.detail) == ("cli", {"price": "21,000 sat", "account": "main"})


def test_policy_may_have_its_own_price(fake_shop):
    add_second_policy(price_amount=99_000)
    assert open_invoice(product="editor", policy="pro").amount == 99_000
    assert open_invoice(product="editor", policy="standard").amount == PRICE


def test_product_is_charged_in_its_own_currency(fake):
    make_account()
    make_catalog("euro-editor", Money(1_999, "EUR"))
    invoice = open_invoice(product="euro-editor")
    assert (invoice.amount, invoice.currency) == (1_999, "EUR")
    assert fake.snapshots[invoice.provider_invoice_id].charged == Money(1_999, "EUR")


def test_account_is_chosen_by_name_where_there_are_several(fake_shop):
    make_account("other", store_id="other-store")
    fake_shop.api_keys["other-store"] = "key-of-test-store"
    invoice = open_invoice(product="editor", account="other")
    assert invoice.provider_account_id == load_account("other").id
    assert invoice.provider_invoice_id.startswith("other-store-")


def test_purchase_default_choices(fake_shop):
    """The defaults are the oldest policy and the first account that works."""
    add_second_policy()
    make_account("other", store_id="other-store")
    fake_shop.api_keys["other-store"] = "key-of-test-store"
    assert open_invoice().provider_account_id == load_account("main").id
    assert open_invoice(policy="pro").provider_account_id == load_account("main").id


def test_no_account_sells_that_the_operator_did_not_name(fake_shop):
    make_account("other", store_id="other-store")
    set_account(paused_at=func.now(), pause_reason="key rejected")
    with pytest.raises(
        SalesUnavailable, match=r"nothing was charged: provider account main is paused \(key rejected\)"
    ):
        open_invoice()
    assert count(Invoice) == 0


def test_fallback_sells_only_where_the_first_can_not(fake_shop):
    make_account("other", store_id="other-store")
    fake_shop.api_keys["other-store"] = "key-of-test-store"
    with transaction() as session:
        sell_with(session, ["main", "other"], "cli")
    assert open_invoice().provider_account_id == load_account("main").id
    set_account(create_failure_count=FAILURES_TO_OPEN, create_open_until=func.now() + timedelta(seconds=20))
    assert open_invoice().provider_account_id == load_account("other").id
    set_account(create_failure_count=0, create_open_until=None, paused_at=func.now())
    assert open_invoice().provider_account_id == load_account("other").id


def test_product_is_sold_by_the_account_it_names_alone(fake_shop):
    make_account("other", store_id="other-store")
    fake_shop.api_keys["other-store"] = "key-of-test-store"
    with transaction() as session:
        change_product(session, "editor", {"account": "other"}, "cli")
    assert open_invoice().provider_account_id == load_account("other").id
    set_account("other", paused_at=func.now())
    with pytest.raises(SalesUnavailable):
        open_invoice()


def test_real_account_replaces_sandbox():
    """A sandbox never replaces a real account."""
    make_account("play", base_url="http://127.0.0.1:8900", kind="btcpay")
    assert (load_account("play").is_sandbox, load_account("play").selling_rank) == (True, 1)
    make_account("real", base_url="https://pay.example.com", kind="btcpay")
    make_account("again", base_url="http://localhost:8900", kind="btcpay")
    ranks = {name: load_account(name).selling_rank for name in ("play", "real", "again")}
    assert ranks == {"play": None, "real": 1, "again": None}


def test_failing_creates_touch_no_reads_and_purchases_fail_fast(fake_shop):
    paid = open_invoice()
    fake_shop.trouble = RemoteUnavailable("503", retry_after=3_600)
    with pytest.raises(RemoteUnavailable):
        open_invoice()
    asked = fake_shop.requests
    with pytest.raises(SalesUnavailable):
        open_invoice()
    assert fake_shop.requests == asked
    account = load_account()
    assert (account.failure_count, account.open_until) == (0, None)
    with reading() as session:
        assert account.create_open_until - session.scalar(select(func.now())) <= timedelta(seconds=60)
    fake_shop.trouble = None
    fake_shop.say(paid.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    assert check_invoice(paid.id).license_due


def test_half_open_creates_probe(fake_shop):
    """One purchase probes the half-open breaker, and its success closes it."""
    set_account(create_failure_count=FAILURES_TO_OPEN, create_open_until=func.now() - timedelta(seconds=1))
    with transaction() as session:
        assert may_create(session, load_account().id)
    with pytest.raises(SalesUnavailable):
        open_invoice()
    set_account(create_open_until=func.now() - timedelta(seconds=1))
    open_invoice()
    assert load_account().create_failure_count == 0


@pytest.mark.parametrize(
    ("wanted", "noun"),
    [
        ({"product": "nothing"}, "no product nothing"),
        ({"product": "editor", "policy": "nothing"}, "no policy nothing"),
        ({"product": "editor", "account": "nothing"}, "no provider account nothing"),
    ],
)
def test_unknown_names_are_refused_and_the_provider_is_not_asked(fake_shop, wanted, noun):
    with pytest.raises(NotFound, match=noun):
        open_invoice(**wanted)
    assert fake_shop.requests == count(Invoice) == 0


def test_product_without_a_policy_can_not_be_sold(fake_shop):
    with transaction() as session:
        session.execute(Policy.__table__.delete())
    with pytest.raises(NotFound, match="no policy"):
        open_invoice(product="editor")


def test_what_costs_nothing_is_licensed_at_once(fake_shop):
    add_second_policy("gift", price_amount=0)
    invoice = open_invoice(policy="gift")
    assert (invoice.status, invoice.amount, invoice.provider_account_id) == ("settled", 0, None)
    assert len(load_licenses(invoice.id)) == 1
    assert invoice.next_check_at is None
    assert fake_shop.requests == 0


def test_paused_account_opens_no_invoices(fake_shop):
    set_account(paused_at=func.now(), pause_reason="key rejected")
    with pytest.raises(SalesUnavailable, match=r"main is paused \(key rejected\)"):
        open_invoice()
    assert fake_shop.requests == count(Invoice) == 0


def test_refused_purchase_ends_its_draft(fake_shop):
    fake_shop.trouble = RemoteRefused("it says no")
    with pytest.raises(RemoteRefused):
        open_invoice()
    (invoice,) = all_invoices()
    assert (invoice.status, invoice.next_check_at) == ("invalid", None)
    assert audit_actions(invoice.id) == ["invoice.opened", "invoice.invalid"]


def test_unclear_answer_leaves_the_draft_to_the_scan(fake_shop):
    fake_shop.trouble = RemoteUnavailable("it is silent")
    with pytest.raises(RemoteUnavailable):
        open_invoice()
    (invoice,) = all_invoices()
    assert invoice.is_draft
    assert (invoice.status, load_account().create_failure_count) == ("pending", 1)
    assert invoice.next_check_at - invoice.created_at == timedelta(seconds=30)


class Noticing(dict):
    """The fake provider's ledger, which records how many transactions are open while it is written."""

    def __init__(self):
        self.open_transactions = []

    def __setitem__(self, key, snapshot):
        with reading() as session:
            self.open_transactions.append(
                session.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND state LIKE 'idle in transaction%'"
                    )
                )
            )
        super().__setitem__(key, snapshot)


def test_provider_is_asked_while_no_transaction_is_open(fake_shop, monkeypatch):
    ledger = Noticing()
    monkeypatch.setattr(fake_shop, "snapshots", ledger)
    open_invoice(product="editor")
    assert ledger.open_transactions == [0]


def test_each_invoice_has_its_own_id_here_and_there(fake_shop):
    invoices = [open_invoice(product="editor") for _ in range(5)]
    assert len({invoice.id for invoice in invoices}) == 5
    assert len({invoice.provider_invoice_id for invoice in invoices}) == 5
    assert [invoice.id for invoice in invoices] == sorted(invoice.id for invoice in invoices)
