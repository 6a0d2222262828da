"""A crash in a purchase leaves a draft: the invoice at the provider is found by our id, and never created twice."""

import multiprocessing
import os
import signal
import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import Database, engine, reading, transaction
from keysat.core.errors import Conflict, RemoteRefused, RemoteUnavailable
from keysat.core.money import Money
from keysat.invoices.draft import DRAFT_LIFE, IN_PROGRESS
from keysat.models import DiscountCode, Invoice
from keysat.models.discount_code import CodeKind
from keysat.providers.base import NewInvoice
from keysat.providers.registry import provider_for
from keysat.sales.purchase import Order, purchase
from tests.builders import (
    audit_actions,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    open_invoice,
    set_columns,
)
from tests.nodes import wait_until

pytestmark = pytest.mark.usefixtures("empty_database")

ORDER = Order("editor", buyer_email="buyer@example.com")
KEYED = Order("editor", idempotency_key="purchase:0b6f6d0e")


def begin_and_die_before(number):
    """A `transaction` whose process is killed with -9 when it would be opened for the n-th time."""
    opened = 0

    def begin():
        nonlocal opened
        opened += 1
        if opened == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return transaction()

    return begin


def purchase_and_die(order, number):
    """Let a process of its own purchase and die before its n-th transaction."""

    def run():
        engine().dispose(close=False)
        purchase(Database(reading, begin_and_die_before(number)), order, lambda: "unused", "cli")

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def the_invoice():
    with reading() as session:
        return session.scalars(select(Invoice)).one()


def age(invoice_id: UUID, by: timedelta):
    set_columns(invoice_id, created_at=Invoice.created_at - by, asked_at=Invoice.asked_at - by)


def at_the_provider(client):
    return client.ledger()["invoices"]


def test_crash_after_create(shop, signer):
    """The next check repairs a crash after the provider's response."""
    purchase_and_die(ORDER, 2)
    draft = the_invoice()
    assert draft.is_draft
    (theirs,) = at_the_provider(shop)
    shop.pay(theirs["id"])

    assert check_invoice(draft.id).license_due
    issue_now(draft.id, signer.key_id)
    adopted = load_invoice(draft.id)
    assert (adopted.status, adopted.provider_invoice_id) == ("settled", theirs["id"])
    assert adopted.checkout_url.endswith(theirs["id"])
    assert len(load_licenses(draft.id)) == len(at_the_provider(shop)) == 1


def test_retry_after_crash_adopts_invoice(shop):
    """The buyer's second request returns the existing invoice."""
    purchase_and_die(KEYED, 2)
    draft = the_invoice()
    with pytest.raises(Conflict, match="still in progress"):
        open_invoice(KEYED)
    age(draft.id, IN_PROGRESS)
    assert open_invoice(KEYED) == open_invoice(KEYED) == draft.id
    (theirs,) = at_the_provider(shop)
    assert the_invoice().provider_invoice_id == theirs["id"]
    assert theirs["order_id"] == str(draft.id)


def test_of_two_who_try_again_at_once_only_one_asks_the_provider(shop):
    """Else each would find no invoice, and each would have one made."""
    shop.set_faults([{"kind": "status", "status": 503, "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(KEYED)
    age(the_invoice().id, IN_PROGRESS)
    shop.set_faults([{"kind": "latency", "seconds": 1, "method": "GET"}])
    results = []

    def retry():
        try:
            results.append(open_invoice(KEYED))
        except Conflict:
            results.append(None)

    buyers = [threading.Thread(target=retry) for _ in range(2)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert sorted(results, key=str) == [the_invoice().id, None]
    assert len(at_the_provider(shop)) == 1


def test_retry_after_crash_before_create(shop):
    """The buyer's second request creates the invoice at the provider."""
    shop.set_faults([{"kind": "status", "status": 503, "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(KEYED)
    draft = the_invoice()
    age(draft.id, IN_PROGRESS)
    assert open_invoice(KEYED) == draft.id
    (theirs,) = at_the_provider(shop)
    assert (theirs["order_id"], load_invoice(draft.id).provider_invoice_id) == (str(draft.id), theirs["id"])


def test_invoice_whose_answer_was_lost_is_adopted(shop):
    shop.set_faults([{"kind": "cut", "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(ORDER)
    draft = the_invoice()
    assert draft.is_draft
    assert check_invoice(draft.id).outcome.action == "keep"
    assert load_invoice(draft.id).provider_invoice_id == at_the_provider(shop)[0]["id"]


def test_draft_never_created_is_closed(shop):
    """A draft without an invoice at the provider is checked for a while, then closed, and its slot is free."""
    with transaction() as session:
        add_code(session, NewCode("ONCE", CodeKind.PERCENT, 1_000, max_uses=1), actor="cli")
    shop.set_faults([{"kind": "status", "status": 503, "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(Order("editor", code="once"))
    draft = the_invoice()
    assert check_invoice(draft.id).outcome.action == "keep"
    assert slots_taken() == 1
    age(draft.id, DRAFT_LIFE)
    assert check_invoice(draft.id).outcome.action == "invalidate"
    closed = load_invoice(draft.id)
    assert (closed.status, closed.next_check_at, slots_taken()) == ("invalid", None, 0)
    assert audit_actions(draft.id) == ["invoice.opened", "invoice.invalid"]


def slots_taken():
    with reading() as session:
        return session.scalars(select(DiscountCode.uses)).one()


def test_purchase_whose_draft_was_closed_is_not_taken_up_again(shop):
    shop.set_faults([{"kind": "status", "status": 422, "method": "POST", "times": 1}])
    with pytest.raises(Exception, match="refused"):
        open_invoice(KEYED)
    with pytest.raises(Conflict, match="this purchase failed; start a new one"):
        open_invoice(KEYED)
    assert at_the_provider(shop) == []


def test_refusal_after_adoption(shop):
    """A refusal after the draft's adoption leaves invoice and slot unchanged."""
    with transaction() as session:
        add_code(session, NewCode("ONCE", CodeKind.PERCENT, 1_000, max_uses=1), actor="cli")
    order = Order("editor", code="once", idempotency_key="purchase:late")
    purchase_and_die(order, 2)
    draft = the_invoice()
    age(draft.id, IN_PROGRESS)
    shop.set_faults(
        [
            {"kind": "wrong_json", "body": [], "method": "GET", "times": 1},  # the list doesn't show it yet
            {"kind": "latency", "seconds": 1, "method": "POST"},
            {"kind": "status", "status": 422, "method": "POST"},
        ]
    )
    refusals = []

    def retry():
        try:
            open_invoice(order)
        except RemoteRefused as error:
            refusals.append(error)

    buyer = threading.Thread(target=retry)
    buyer.start()
    wait_until(lambda: shop.requests_made()["by_route"].get("POST invoices", 0) == 2)
    check_invoice(draft.id)
    buyer.join()
    assert len(refusals) == 1
    adopted = load_invoice(draft.id)
    assert (adopted.status, adopted.provider_invoice_id) == ("pending", at_the_provider(shop)[0]["id"])
    assert slots_taken() == 1


def test_old_draft_whose_invoice_is_being_made_is_not_closed(shop):
    """Otherwise the buyer would get the address of an invoice without checks."""
    shop.set_faults([{"kind": "status", "status": 503, "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(KEYED)
    draft = the_invoice()
    age(draft.id, DRAFT_LIFE + timedelta(minutes=1))
    shop.set_faults([{"kind": "latency", "seconds": 1, "method": "POST"}])
    buyer = threading.Thread(target=open_invoice, args=(KEYED,))
    buyer.start()
    wait_until(lambda: shop.requests_made()["by_route"].get("POST invoices", 0) == 2)
    assert check_invoice(draft.id).outcome.action == "keep"
    buyer.join()
    shop.pay(at_the_provider(shop)[0]["id"])
    assert check_invoice(draft.id).license_due


def test_invoice_that_turns_up_for_a_closed_draft_is_watched_again(shop):
    purchase_and_die(ORDER, 2)
    draft = the_invoice()
    set_columns(draft.id, status="invalid", next_check_at=None)
    check_invoice(draft.id)
    adopted = load_invoice(draft.id)
    assert adopted.provider_invoice_id == at_the_provider(shop)[0]["id"]
    assert adopted.next_check_at is not None


def test_of_several_invoices_for_one_order_the_paid_one_is_adopted(shop):
    """Two can only be made when a buyer tries again while the provider is still at work on a call that timed out."""
    shop.set_faults([{"kind": "cut", "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(ORDER)
    draft = the_invoice()
    first = at_the_provider(shop)[0]
    second = duplicate_at_the_provider(shop, first)
    shop.pay(second)
    assert check_invoice(draft.id).license_due
    assert load_invoice(draft.id).provider_invoice_id == second


def duplicate_at_the_provider(shop, entry):
    """Another invoice for the same order, as a call that timed out may leave behind."""
    wanted = NewInvoice(entry["order_id"], Money(21_000, "BTC"), "Editor: Standard")
    return provider_for(load_account()).create_invoice(wanted).provider_invoice_id


def test_scan_claims_drafts_like_other_invoices(shop):
    purchase_and_die(ORDER, 2)
    draft = the_invoice()
    with reading() as session:
        due_in = session.scalar(select(Invoice.next_check_at - func.now()).where(Invoice.id == draft.id))
    assert timedelta(0) < due_in <= timedelta(seconds=30)


def test_death_before_the_first_commit_leaves_nothing(shop):
    purchase_and_die(ORDER, 1)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Invoice)) == 0
    assert at_the_provider(shop) == []
