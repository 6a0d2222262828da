"""A tip is authorized right before it is paid: the sale is settled, the money is confirmed, and no restore followed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, update

from keysat.core import clock
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import InvalidInput
from keysat.licenses.withdraw import change_status
from keysat.models import Epoch, Invoice, Tip
from keysat.models.epoch import declare_restore, notice_restore
from keysat.models.license import LicenseStatus
from keysat.providers.btcpay.adapter import BTCPay
from keysat.providers.lightning import LightningPayment, PaymentState
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import settle_by_hand
from keysat.settlement.reverse import reverse
from keysat.settlement.sweep import pages
from keysat.tips.authorize import earned_by
from keysat.tips.manage import retry_tip
from keysat.tips.pay import pay
from tests.builders import PRICE, check_invoice, issue_now, load_account, load_invoice, make_invoice, set_columns
from tests.tips.conftest import load_tip

TIP_MSAT = PRICE * 500 // 10_000 * 1_000


def step(payer, tip_id):
    return pay(DATABASE, payer, tip_id, actor="tips")


def reversed_(tip):
    with transaction() as session:
        reverse(session, tip.invoice_id, "suspend", "refunded", "test")


def in_review(tip):
    set_columns(tip.invoice_id, review_reason="refunded", review_opened_at=func.now())


def suspended(tip):
    with transaction() as session:
        change_status(session, tip.license_id, LicenseStatus.SUSPENDED, "test", "why not")


def worth_less(tip):
    set_columns(tip.invoice_id, paid_amount=1)


def restored(_):
    with transaction() as session:
        assert declare_restore(session)


@pytest.mark.parametrize("happens", [reversed_, in_review, suspended, worth_less, restored])
def test_tip_is_held_where_its_sale_stands_no_more(sandbox, payer, tipped, happens):
    tip_id = tipped()
    happens(load_tip(tip_id))
    assert step(payer, tip_id) == "held"
    assert step(payer, tip_id) == "held"
    assert sandbox.lightning_payments() == []


@pytest.mark.parametrize(
    ("facts", "msat"),
    [
        ({"paid_amount": PRICE * 10, "exception": "over"}, TIP_MSAT),
        ({"paid_amount": PRICE // 2}, TIP_MSAT // 2),
        ({"paid_amount": 0, "exception": "marked"}, None),
        ({"exception": "marked"}, None),
        ({"settled_by_hand": True}, None),
        ({"settled_by_hand": True, "paid_amount": PRICE}, TIP_MSAT),
        ({}, TIP_MSAT),
    ],
)
def test_tip_is_a_share_of_the_smaller_of_price_and_payment(tipped, facts, msat):
    tip_id = tipped(**facts)
    assert (None if tip_id is None else load_tip(tip_id).amount_msat) == msat


def test_gift_owes_no_tip(tipped, signer):
    tipped()
    gift = make_invoice()
    with transaction() as session:
        settle_by_hand(session, gift.id, "a gift", "test")
    issue_now(gift.id, signer.key_id)
    assert load_invoice(gift.id).came_in == 0
    with reading() as session:
        assert session.query(Tip).where(Tip.invoice_id == gift.id).count() == 0


def test_restore_holds_tips_of_earlier_sales_and_only_those(sandbox, payer, tipped):
    owed, paying = tipped(), tipped()
    sandbox.set_lightning(["500-unheard"])
    assert step(payer, paying) == "paying"
    restored(None)
    sandbox.set_lightning(["paid"])
    assert (step(payer, owed), step(payer, paying)) == ("held", "paying")
    assert sandbox.lightning_payments() == []
    assert step(payer, tipped()) == "sent"
    with pytest.raises(InvalidInput, match="check the node, then say what you found"), transaction() as session:
        retry_tip(session, owed, actor="cli")
    with transaction() as session:
        retry_tip(session, owed, "the node has no payment of it", actor="cli")
    assert step(payer, owed) == "sent"


def test_tip_of_an_adopted_sale_is_held(sandbox, payer, tipped, signer):
    tipped()
    lost = make_invoice()
    sandbox.pay(lost.provider_invoice_id)
    with transaction() as session:
        session.execute(delete(Invoice).where(Invoice.id == lost.id))
    list(pages(DATABASE, load_account().id, SettlementRules(), since=lost.created_at - timedelta(hours=1)))
    check_invoice(lost.id)
    issue_now(lost.id, signer.key_id)
    with reading() as session:
        tip_id = session.scalar(select(Tip.id).where(Tip.invoice_id == lost.id))
    assert step(payer, tip_id) == "held"
    assert sandbox.lightning_payments() == []


def test_failed_tip_that_is_older_than_a_restore_needs_a_note(sandbox, tipped):
    tip_id = tipped()
    with transaction() as session:
        session.execute(update(Tip).values(status="failed", next_attempt_at=None))
    restored(None)
    with pytest.raises(InvalidInput, match="may have been paid"), transaction() as session:
        retry_tip(session, tip_id, actor="cli")


@pytest.mark.parametrize("state", list(PaymentState))
def test_word_about_another_payment_counts_for_nothing(sandbox, payer, tipped, monkeypatch, state):
    sandbox.set_lightning(["unclear-failed"])
    tip_id = tipped()
    assert step(payer, tip_id) == "paying"
    about_another = LightningPayment("00" * 32, state)
    monkeypatch.setattr(BTCPay, "find_lightning_payment", lambda *_: about_another)
    assert step(payer, tip_id) == "paying"


def test_invoice_that_is_over_by_the_databases_clock_is_not_paid(sandbox, payer, tipped, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) - timedelta(days=2))
    sandbox.set_lightning(invoices=["expired"])
    tip_id = tipped()
    assert step(payer, tip_id) == "owed"
    assert sandbox.lightning_payments() == []


def test_failed_payment_is_not_repeated_after_restore(sandbox, payer, tipped):
    sandbox.set_lightning(["unclear-failed"])
    tip_id = tipped()
    assert step(payer, tip_id) == "paying"
    restored(None)
    assert step(payer, tip_id) == "held"


def test_restore_is_noticed_by_itself_once(payer, tipped):
    tip_id = tipped()
    with transaction() as session:
        assert not notice_restore(session)
        session.execute(update(Epoch).values(identity="of another database"))
    with transaction() as session:
        assert notice_restore(session)
    with transaction() as session:
        assert not notice_restore(session)
        assert not declare_restore(session)
    assert step(payer, tip_id) == "held"


@pytest.mark.parametrize(
    ("facts", "earned"),
    [
        ({"credited": 11_000}, PRICE),
        ({"credited": 11_000, "settled_by_hand": True}, 10_000),
        ({"reversed_at": func.now()}, 10_000),
        ({}, 10_000),
    ],
)
def test_sale_brought_in_what_was_paid_for_its_rests(tipped, facts, earned):
    tipped()
    settled = {"status": "settled", "settled_at": func.now()}
    invoice = make_invoice(paid_amount=10_000, **settled)
    make_invoice(rest_of_id=invoice.id, base_amount=11_000, amount=11_000, **settled, **facts)
    with reading() as session:
        assert earned_by(session, session.get_one(Invoice, invoice.id)) == earned
