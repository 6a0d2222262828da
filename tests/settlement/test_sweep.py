"""A sweep finds changes among many, adopts invoices without a row, and resumes where it was interrupted."""

from datetime import timedelta
from uuid import uuid4

import pytest
import requests
from sqlalchemy import delete, func, select, update

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, RemoteUnavailable
from keysat.core.money import Money
from keysat.models import Invoice, Sweep
from keysat.providers.base import NewInvoice, ProviderStatus
from keysat.providers.registry import provider_for
from keysat.settlement import sweep as sweeping
from keysat.settlement.backlog import backlogged
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep import pages
from tests.builders import (
    PRICE,
    STORE,
    audit_actions,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_due,
    make_invoice,
    set_account,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(sweeping, "PAGE", 4)


def swept(**options):
    """Sweeps the account. Returns the last page's sweep and the ids of all invoices to check."""
    found = list(pages(DATABASE, load_account().id, SettlementRules(), **options))
    return found[-1].sweep, [claim.row_id for page in found for claim in page.changed]


def test_sweep_checks_only_changes(shop, small_pages):
    """Only changed invoices are checked, and the others are rescheduled."""
    invoices = [make_invoice() for _ in range(11)]
    for invoice in invoices:
        make_due(invoice.id)
    paid = [invoices[3], invoices[7]]
    for invoice in paid:
        shop.pay(invoice.provider_invoice_id)
    before = shop.requests_made()["invoice_reads"]
    sweep, changed = swept()
    assert set(changed) == {invoice.id for invoice in paid}
    assert (sweep.seen >= 11, sweep.changed >= 2, sweep.orphans) == (True, True, [])
    assert shop.requests_made()["invoice_reads"] == before
    with reading() as session:
        assert session.scalar(select(func.count()).where(Invoice.next_check_at <= func.now())) == 0
    for invoice_id in changed:
        check_invoice(invoice_id)
        assert load_invoice(invoice_id).status == "settled"


def test_sweep_not_due_and_closed(shop):
    """Invoices that aren't due are not rescheduled, and a late payment reopens a closed one."""
    waiting, late = make_invoice(), make_invoice()
    shop.expire(late.provider_invoice_id)
    check_invoice(late.id)
    set_columns(late.id, next_check_at=None)
    shop.pay(late.provider_invoice_id)
    due = load_invoice(waiting.id).next_check_at
    _, changed = swept()
    assert changed == [late.id]
    assert load_invoice(waiting.id).next_check_at == due
    assert load_invoice(late.id).next_check_at is not None


def test_sweep_finds_refund(shop, signer):
    """A refund is found, and no second license becomes due."""
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    check_invoice(invoice.id)
    set_columns(invoice.id, fulfilled_at=func.now(), next_check_at=None)
    shop.refund(invoice.provider_invoice_id)
    _, changed = swept(since=load_invoice(invoice.id).created_at)
    assert changed == [invoice.id]
    assert load_invoice(invoice.id).next_check_at is None


def test_interrupted_sweep_goes_on_where_it_stopped(shop, small_pages):
    for _ in range(10):
        make_invoice()
    found = pages(DATABASE, load_account().id, SettlementRules())
    first = next(found)
    found.close()
    sweep, _ = swept()
    assert sweep.id == first.sweep.id
    assert sweep.seen < 2 * 10
    again, _ = swept()
    assert again.id != sweep.id


def test_one_sweep_at_a_time_and_a_dead_one_is_taken_over(shop, small_pages):
    for _ in range(6):
        make_invoice()
    found = pages(DATABASE, load_account().id, SettlementRules())
    first = next(found)
    with pytest.raises(Conflict, match="is being swept"):
        swept()
    with transaction() as session:
        session.execute(update(Sweep).values(leased_until=func.now() - timedelta(seconds=1)))
    assert swept()[0].id == first.sweep.id
    found.close()


def test_restart_begins_again(shop, small_pages):
    for _ in range(6):
        make_invoice()
    found = pages(DATABASE, load_account().id, SettlementRules())
    first = next(found)
    found.close()
    assert swept(restart=True)[0].id != first.sweep.id


def test_draft_whose_answer_was_lost_is_adopted(shop):
    invoice = make_invoice()
    theirs = invoice.provider_invoice_id
    set_columns(invoice.id, provider_invoice_id=None, checkout_url=None)
    shop.pay(theirs)
    sweep, changed = swept()
    assert (sweep.adopted, changed) == (1, [invoice.id])
    assert load_invoice(invoice.id).provider_invoice_id == theirs
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).status == "settled"


def test_paid_invoice_whose_row_is_gone_is_adopted_and_settled(shop, signer):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    with transaction() as session:
        session.execute(delete(Invoice))
    sweep, changed = swept(since=invoice.created_at)
    assert (sweep.adopted, changed, sweep.orphans) == (1, [invoice.id], [])
    assert audit_actions(invoice.id)[-1] == "invoice.adopted"
    result = check_invoice(invoice.id)
    assert result.license_due
    assert load_invoice(invoice.id).amount == PRICE
    assert load_licenses() == []


@pytest.mark.parametrize(
    ("price", "policy"), [(Money(1, "BTC"), True), (Money(PRICE, "BTC"), False), (Money(2_000, "EUR"), True)]
)
def test_sweep_uncertain_paid_invoice(shop, price, policy):
    """A paid invoice that isn't certainly ours is an orphan."""
    ours = make_invoice()
    account, order_id = load_account(), str(uuid4())
    wanted = NewInvoice(order_id, price, "made elsewhere", policy_id=ours.policy_id if policy else None)
    made = provider_for(account).create_invoice(wanted)
    shop.pay(made.provider_invoice_id)
    sweep, changed = swept()
    assert (sweep.adopted, changed) == (0, [])
    [orphan] = sweep.orphans
    assert (orphan["provider_invoice_id"], orphan["order_id"]) == (made.provider_invoice_id, order_id)


def test_sweep_ignores_others_and_unpaid(shop):
    ours = make_invoice()
    provider = provider_for(load_account())
    stray = provider.create_invoice(NewInvoice("T-SHIRT-17", Money(5, "BTC"), "a shirt"))
    provider.create_invoice(NewInvoice(str(uuid4()), Money(5, "BTC"), "unpaid", policy_id=ours.policy_id))
    shop.pay(stray.provider_invoice_id)
    sweep, changed = swept()
    assert (sweep.seen, sweep.adopted, sweep.orphans, changed) == (3, 0, [], [])


def test_provider_that_fails_is_noted_and_the_sweep_waits(shop, small_pages):
    for _ in range(6):
        make_invoice()
    shop.set_faults([{"kind": "status", "status": 500}])
    with pytest.raises(RemoteUnavailable):
        swept()
    assert load_account().failure_count == 1
    shop.set_faults([])
    assert swept()[0].seen >= 6


def test_accounts_with_a_backlog_are_swept(fake):
    invoices = [make_invoice() for _ in range(3)]

    def found(limit):
        with reading() as session:
            return backlogged(session, limit)

    assert found(1) == []
    for invoice in invoices:
        make_due(invoice.id)
    assert found(3) == [load_account().id]
    assert found(4) == []
    set_account(paused_at=func.now(), pause_reason="asked for")
    assert found(3) == []


def test_outage_leaves_a_backlog(fake, monkeypatch):
    monkeypatch.setattr("keysat.settlement.backlog._MANY", 2)
    for invoice in [make_invoice(), make_invoice()]:
        make_due(invoice.id, timedelta(minutes=11))
    with reading() as session:
        assert backlogged(session, 1_000) == [load_account().id]


def test_fake_provider_is_swept_too(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    assert swept()[1] == [invoice.id]


def test_page_that_is_too_large_is_halved_until_it_fits(shop):
    """The paid invoice is the oldest of the span, so all pages are needed."""
    paid = make_invoice(created_at=func.now() - timedelta(hours=1))
    heavy = {"amount": "0.00021", "currency": "BTC", "metadata": {"orderId": "a shop's", "text": "x" * 9_000}}
    shop.create_many(STORE, 250, heavy)
    newest = make_invoice()
    for invoice in (paid, newest):
        shop.pay(invoice.provider_invoice_id)
    sweep, changed = swept()
    assert (sweep.finished_at is not None, sweep.seen >= 251) == (True, True)
    assert newest.id in changed


def test_entry_that_is_too_large_by_itself_is_passed_over(shop):
    huge = {"amount": "0.00021", "currency": "BTC", "metadata": {"text": "x" * 1_048_000}}
    shop.create_many(STORE, 1, huge)
    paid = make_invoice()
    shop.pay(paid.provider_invoice_id)
    sweep, changed = swept()
    assert (sweep.finished_at is not None, sweep.skipped, set(changed)) == (True, 1, {paid.id})


def test_archived_invoice_is_swept_and_its_draft_found(shop):
    paid, lost = make_invoice(), make_invoice()
    for invoice in (paid, lost):
        shop.pay(invoice.provider_invoice_id)
        archive = f"{shop.url}/api/v1/stores/{STORE}/invoices/{invoice.provider_invoice_id}"
        assert requests.delete(archive, headers={"Authorization": "token key-of-test-store"}, timeout=120).ok
    _, changed = swept()
    assert set(changed) == {paid.id, lost.id}
    provider = provider_for(load_account())
    assert [entry.snapshot.provider_invoice_id for entry in provider.find_invoices(str(lost.id))] == [
        lost.provider_invoice_id
    ]


def test_sweep_second_account_same_store(shop, signer):
    """The invoices of the first account are no orphans of the second one."""
    paid = make_invoice()
    shop.pay(paid.provider_invoice_id)
    check_invoice(paid.id)
    issue_now(paid.id, signer.key_id)
    make_account("again", kind="btcpay", base_url=shop.url)
    page = list(pages(DATABASE, load_account("again").id, SettlementRules()))[-1]
    assert (page.sweep.seen, page.sweep.adopted, page.sweep.orphans) == (1, 0, [])


def test_sweep_names_both_ids_of_a_conflict(shop):
    paid = make_invoice()
    shop.pay(paid.provider_invoice_id)
    new_id = uuid4()
    with transaction() as session:  # as after a restore in which another row has the provider's id
        session.execute(update(Invoice).where(Invoice.id == paid.id).values(id=new_id))
    sweep, _ = swept()
    [orphan] = sweep.orphans
    assert (orphan["order_id"], orphan["provider_invoice_id"]) == (str(paid.id), paid.provider_invoice_id)
    assert "belongs to another invoice" in orphan["why"]
