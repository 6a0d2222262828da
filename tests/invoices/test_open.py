"""Opening an invoice: asked of the provider outside any transaction, stored as pending, due for its first look."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from keysat.catalog import Terms, add_policy
from keysat.db import reading, transaction
from keysat.errors import Conflict, CredentialsRejected, InvalidInput, NotFound, RemoteUnavailable
from keysat.invoices.open import open_invoice
from keysat.models import AuditLine, Invoice, Policy
from keysat.money import Money
from tests.builders import PRICE, audit_actions, load_account, make_account, make_catalog, set_account

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def shop(fake):
    make_account()
    make_catalog()
    return fake


def count(table):
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def add_second_policy(slug="pro", **terms):
    with transaction() as session:
        add_policy(session, "editor", slug, slug.title(), Terms(**terms))


def test_provider_and_our_row_agree_on_the_invoice(shop):
    invoice = open_invoice(transaction, product="editor", buyer_email="buyer@example.com", buyer_note="VIP")
    snapshot = shop.snapshots[invoice.provider_invoice_id]
    assert snapshot.order_id == str(invoice.id)
    assert snapshot.charged == Money(PRICE, "BTC") == Money(invoice.amount, invoice.currency)
    assert invoice.checkout_url == f"https://pay.example/i/{invoice.provider_invoice_id}"
    assert (invoice.buyer_email, invoice.buyer_note) == ("buyer@example.com", "VIP")


def test_new_invoice_is_pending_and_due_in_half_a_minute(shop):
    invoice = open_invoice(transaction, product="editor")
    assert (invoice.status, invoice.exception, invoice.check_count) == ("pending", "none", 0)
    assert invoice.next_check_at - invoice.created_at == timedelta(seconds=30)
    assert invoice.settled_at is invoice.fulfilled_at is invoice.paid_amount is None


def test_opening_has_its_line_in_the_audit_log(shop):
    invoice = open_invoice(transaction, product="editor", actor="web")
    assert audit_actions(invoice.id) == ["invoice.opened"]
    with reading() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.subject_id == invoice.id)).one()
    assert (line.actor, line.detail) == ("web", {"price": "21,000 sat", "account": "main"})


def test_policy_may_have_its_own_price(shop):
    add_second_policy(price_amount=99_000)
    assert open_invoice(transaction, product="editor", policy="pro").amount == 99_000
    assert open_invoice(transaction, product="editor", policy="standard").amount == PRICE


def test_product_is_charged_in_its_own_currency(fake):
    make_account()
    make_catalog("euro-editor", Money(1_999, "EUR"))
    invoice = open_invoice(transaction, product="euro-editor")
    assert (invoice.amount, invoice.currency) == (1_999, "EUR")
    assert fake.snapshots[invoice.provider_invoice_id].charged == Money(1_999, "EUR")


def test_account_is_chosen_by_name_where_there_are_several(shop):
    make_account("other", store_id="other-store")
    shop.api_keys["other-store"] = "key-of-test-store"
    invoice = open_invoice(transaction, product="editor", account="other")
    assert invoice.provider_account_id == load_account("other").id
    assert invoice.provider_invoice_id.startswith("other-store-")


def test_several_accounts_or_policies_must_be_named(shop):
    add_second_policy()
    with pytest.raises(InvalidInput, match="more than one policy, so name it"):
        open_invoice(transaction, product="editor")
    make_account("other")
    with pytest.raises(InvalidInput, match="more than one provider account, so name it"):
        open_invoice(transaction, product="editor", policy="pro")
    assert shop.requests == 0


@pytest.mark.parametrize(
    ("wanted", "noun"),
    [
        ({"product": "nothing"}, "no product nothing"),
        ({"product": "editor", "policy": "nothing"}, "no policy nothing"),
        ({"product": "editor", "account": "nothing"}, "no provider account nothing"),
    ],
)
def test_unknown_names_are_refused_and_the_provider_is_not_asked(shop, wanted, noun):
    with pytest.raises(NotFound, match=noun):
        open_invoice(transaction, **wanted)
    assert shop.requests == count(Invoice) == 0


def test_product_without_a_policy_can_not_be_sold(shop):
    with transaction() as session:
        session.execute(Policy.__table__.delete())
    with pytest.raises(NotFound, match="no policy"):
        open_invoice(transaction, product="editor")


def test_what_costs_nothing_needs_no_invoice(shop):
    add_second_policy("gift", price_amount=0)
    with pytest.raises(InvalidInput, match="costs nothing"):
        open_invoice(transaction, product="editor", policy="gift")
    assert shop.requests == 0


def test_paused_account_opens_no_invoices(shop):
    set_account(paused_at=func.now(), pause_reason="key rejected")
    with pytest.raises(Conflict, match=r"main is paused \(key rejected\); `keysat provider resume main`"):
        open_invoice(transaction, product="editor")
    assert shop.requests == 0


@pytest.mark.parametrize("trouble", [RemoteUnavailable("it is down"), CredentialsRejected("it says 401")])
def test_provider_that_makes_no_invoice_leaves_no_row(shop, trouble):
    shop.trouble = trouble
    with pytest.raises(type(trouble)):
        open_invoice(transaction, product="editor")
    assert count(Invoice) == 0
    with reading() as session:
        assert session.scalars(select(AuditLine.action).where(AuditLine.action == "invoice.opened")).all() == []


class Noticing(dict):
    """The fake provider's ledger, which counts the transactions that are open while it is written."""

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


def test_provider_is_asked_while_no_transaction_is_open(shop, monkeypatch):
    ledger = Noticing()
    monkeypatch.setattr(shop, "snapshots", ledger)
    open_invoice(transaction, product="editor")
    assert ledger.open_transactions == [0]


def test_each_invoice_has_its_own_id_here_and_there(shop):
    invoices = [open_invoice(transaction, product="editor") for _ in range(5)]
    assert len({invoice.id for invoice in invoices}) == 5
    assert len({invoice.provider_invoice_id for invoice in invoices}) == 5
    assert [invoice.id for invoice in invoices] == sorted(invoice.id for invoice in invoices)
