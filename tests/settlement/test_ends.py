"""The end of an invoice's life, and news at the wrong moment: nothing leaks, no money is dropped in silence."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.accounts.inbox import MAX_ATTEMPTS, claim_events, store
from keysat.accounts.manage import remove_account
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import Database, reading, transaction
from keysat.models import AuditLine, DiscountCode, Redemption
from keysat.models import ProviderEvent as StoredEvent
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus, ReceivedEvent
from keysat.sales.purchase import Order
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.reconcile import reconcile
from tests.builders import (
    PRICE,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_invoice,
    make_shop,
    open_invoice,
    set_account,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

OLD = func.now() - timedelta(days=31)
# An invoice too old to be checked further, which a check of yesterday found so, too.
OVER = {"created_at": OLD, "final_check_at": func.now() - timedelta(days=1, minutes=1)}


def test_gone_invoice_final_check(fake):
    """An invoice that the provider deleted has a final check, and frees its slot."""
    make_shop()
    with transaction() as session:
        add_code(session, NewCode("ONCE", CodeKind.PERCENT, 1_000, max_uses=1), actor="cli")
    invoice = load_invoice(open_invoice(Order("editor", code="once")))
    del fake.snapshots[invoice.provider_invoice_id]
    set_columns(invoice.id, **OVER)
    assert check_invoice(invoice.id).outcome.action == "keep"
    assert load_invoice(invoice.id).next_check_at is None
    with reading() as session:
        assert session.scalars(select(Redemption.status)).one() == "cancelled"
        assert session.scalars(select(DiscountCode.uses)).one() == 0
        assert "invoice.gone" in session.scalars(select(AuditLine.action)).all()


def test_final_check_reviews_received_money(fake):
    invoice = make_invoice(**OVER)
    fake.say(invoice.provider_invoice_id, ProviderStatus.PENDING, PaymentException.PARTIAL, paid=1)
    check_invoice(invoice.id)
    ended = load_invoice(invoice.id)
    assert (ended.in_review, ended.review_reason, ended.paid_amount) == (True, "underpaid", 1)
    assert ended.next_check_at is None


def test_final_check_of_unpaid_invoice(fake):
    invoice = make_invoice(**OVER)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is None
    assert not load_invoice(invoice.id).in_review


@pytest.mark.parametrize("gone", [ProviderStatus.INVALID, ProviderStatus.REFUNDED])
def test_bad_news_superseded_by_settlement(fake, signer, gone):
    """The first check finds it paid, the next one refunded. The first one writes just before the last."""
    invoice = make_invoice()
    settled = False

    def begin():
        nonlocal settled
        if not settled:
            settled = True
            fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
            check_invoice(invoice.id)
            issue_now(invoice.id, signer.key_id)
            fake.say(invoice.provider_invoice_id, gone)
        return transaction()

    fake.say(invoice.provider_invoice_id, gone)
    reconcile(Database(reading, begin), invoice.id, SettlementRules(), actor="reconcile")
    assert load_licenses(invoice.id)[0].status == "suspended"
    assert load_invoice(invoice.id).reversed_at is not None


def stored_event(invoice, **facts):
    with transaction() as session:
        event = ReceivedEvent("delivery-1", "changed", invoice.provider_invoice_id)
        event_id = store(session, load_account().id, event, b"{}")
        session.execute(update(StoredEvent).values(next_attempt_at=func.now(), **facts))
    return event_id


def claimed():
    with transaction() as session:
        return [claim.row_id for claim in claim_events(session, 10)]


def owed():
    with reading() as session:
        return session.scalars(select(StoredEvent.next_attempt_at)).one() is not None


def test_news_of_a_settled_invoice_are_never_given_up(signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    event_id = stored_event(invoice, attempts=MAX_ATTEMPTS)
    assert claimed() == [event_id]
    assert owed(), "it has no schedule of its own that would find out"


def test_news_given_up_finally():
    stored_event(make_invoice(), attempts=MAX_ATTEMPTS)
    assert len(claimed()) == 1
    assert not owed()


@pytest.mark.parametrize(
    "rest", [{"paused_at": func.now()}, {"open_until": func.now() + timedelta(minutes=1)}], ids=["paused", "resting"]
)
def test_attempts_are_not_used_up_while_the_account_rests(rest):
    event_id = stored_event(make_invoice())
    set_account(**rest)
    assert claimed() == []
    set_account(paused_at=None, open_until=None)
    assert claimed() == [event_id]


def test_account_that_only_got_test_webhooks_can_be_removed():
    make_account()
    with transaction() as session:
        store(session, load_account().id, ReceivedEvent("delivery-1", "test", None), b"{}")
    with transaction() as session:
        remove_account(session, "main", actor="cli")
