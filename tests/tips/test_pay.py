"""Tips are paid once, over exactly their amount, or end with the reason why not."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, InvalidInput, NotFound
from keysat.core.money import Money
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import AuditLine, OutboundEvent, ProviderAccount, Tip
from keysat.operations.invariants import broken
from keysat.providers.registry import provider_for
from keysat.queue.outbox import EventType
from keysat.settlement.issue import issue
from keysat.tips.due import LONG_OVER, MAX_ATTEMPTS, claim_tips
from keysat.tips.lnurl import ask_for_invoice
from keysat.tips.manage import mark_sent, retry_tip
from keysat.tips.pay import Payer, pay
from keysat.webhooks.endpoints import add_endpoint
from tests.builders import PRICE, STORE, load_licenses, make_account, make_catalog, make_invoice
from tests.tips.conftest import load_tip, make_due

TIP_MSAT = PRICE * 500 // 10_000 * 1_000


def step(payer, tip_id):
    return pay(DATABASE, payer, tip_id, actor="tips")


def audited(action):
    with reading() as session:
        return session.scalars(select(AuditLine.detail).where(AuditLine.action == action)).all()


def test_tip_is_paid_once_the_license_is_there(sandbox, payer, tipped):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com/", actor="cli")
    tip_id = tipped()
    assert step(payer, tip_id) == "sent"
    assert step(payer, tip_id) == "sent"
    (payment,) = sandbox.lightning_payments()
    tip = load_tip(tip_id)
    assert (payment["amount_msat"], payment["paid"], payment["asked"]) == (TIP_MSAT, 1, 1)
    assert (tip.payment_hash, tip.amount_msat, tip.fee_msat) == (payment["payment_hash"], TIP_MSAT, 1_000)
    assert payment["max_fee_sats"] == "10"
    with reading() as session:
        body = session.scalars(select(OutboundEvent.body).where(OutboundEvent.event_type == EventType.TIP_SENT)).one()
    assert json.loads(body)["data"]["amount_msat"] == TIP_MSAT
    assert len(audited("tip.sent")) == 1


@pytest.mark.parametrize("node", ["unclear-paid", "500-paid"])
def test_unclear_outcome_is_looked_up_and_not_paid_again(sandbox, payer, tipped, node):
    sandbox.set_lightning([node])
    tip_id = tipped()
    assert step(payer, tip_id) == "paying"
    sandbox.set_lightning(["paid"])
    assert step(payer, tip_id) == "sent"
    (payment,) = sandbox.lightning_payments()
    assert (payment["asked"], payment["paid"]) == (1, 1)


@pytest.mark.parametrize(("node", "steps"), [("unclear-failed", 2), ("failed", 1)])
def test_certain_failure_is_tried_again_with_another_invoice(sandbox, payer, tipped, node, steps):
    sandbox.set_lightning([node])
    tip_id = tipped()
    for _ in range(steps):
        step(payer, tip_id)
    first = load_tip(tip_id)
    assert (first.status, first.paying_since) == ("owed", None)
    assert first.next_attempt_at is not None
    sandbox.set_lightning(["paid"])
    assert step(payer, tip_id) == "sent"
    assert load_tip(tip_id).payment_hash != first.payment_hash
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [0, 1]


def test_tip_unknown_payment_is_resent(sandbox, payer, tipped):
    """A payment that the provider doesn't know is sent again, with the same invoice."""
    sandbox.set_lightning(["500-unheard"])
    tip_id = tipped()
    for _ in range(3):
        assert step(payer, tip_id) == "paying"
    first = load_tip(tip_id).payment_hash
    sandbox.set_lightning(["paid"])
    assert step(payer, tip_id) == "sent"
    assert load_tip(tip_id).payment_hash == first
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [1]


def sent_twice_and_failed_once(sandbox, payer, tip_id):
    """The first request is still on its way while the node reports that the second one failed. Returns the invoice."""
    sandbox.set_lightning(["500-unheard"])
    step(payer, tip_id)
    sandbox.set_lightning(["unclear-failed"])
    step(payer, tip_id)
    sandbox.set_lightning(["paid"])
    return load_tip(tip_id).bolt11


def test_tip_failure_with_pending_request(sandbox, payer, tipped):
    """A failure is not final while another request may be on its way."""
    tip_id = tipped()
    invoice = sent_twice_and_failed_once(sandbox, payer, tip_id)
    assert [step(payer, tip_id) for _ in range(3)] == ["paying"] * 3
    with reading() as session:
        account = session.get_one(ProviderAccount, load_tip(tip_id).provider_account_id)
    provider_for(account).pay_lightning_invoice(invoice, 10_000)  # the first request arrives at last
    assert step(payer, tip_id) == "sent"
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [1]


def test_tip_failure_after_expiry(sandbox, payer, tipped):
    """A failure after two requests is final once the invoice is long over."""
    tip_id = tipped()
    invoice = sent_twice_and_failed_once(sandbox, payer, tip_id)
    with transaction() as session:
        session.execute(update(Tip).values(payable_until=func.now() - LONG_OVER - timedelta(seconds=1)))
    assert [step(payer, tip_id), step(payer, tip_id)] == ["owed", "sent"]
    assert load_tip(tip_id).bolt11 != invoice
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [0, 1]


def test_tip_unknown_payment_after_expiry(sandbox, payer, tipped):
    """It waits for a person."""
    sandbox.set_lightning(["500-unheard"])
    tip_id = tipped()
    step(payer, tip_id)
    with transaction() as session:
        session.execute(update(Tip).values(payable_until=func.now() - timedelta(days=30)))
    sandbox.set_lightning(["paid"])
    assert [step(payer, tip_id) for _ in range(3)] == ["paying"] * 3
    assert sandbox.lightning_payments() == []
    with reading() as session:
        (breach,) = broken(session, 15)
    assert breach.invariant == "tip_unknown"
    with pytest.raises(InvalidInput, match="check the node, then say what you found"), transaction() as session:
        retry_tip(session, tip_id, actor="cli")
    with transaction() as session:
        retry_tip(session, tip_id, "the node has no payment of this hash", actor="cli")
    assert step(payer, tip_id) == "sent"


def refusal(status, code):
    return {"kind": "status", "status": status, "body": {"code": code, "message": "There is none"}}


NO_ANSWERS = {
    "payment-not-found": refusal(404, "payment-not-found"),
    "lightning-not-configured": refusal(404, "lightning-not-configured"),
    "store-not-found": refusal(404, "store-not-found"),
    "permission": refusal(403, "missing-permission"),
    "generic-error": refusal(400, "generic-error"),
    "page of a proxy": {"kind": "status", "status": 404, "body": "<html>Not found</html>"},
    "busy": {"kind": "status", "status": 503},
    "empty list": {"kind": "wrong_json", "body": []},
    "empty object": {"kind": "wrong_json", "body": {}},
    "null": {"kind": "wrong_json", "body": None},
    "garbage": {"kind": "garbage"},
    "cut": {"kind": "cut"},
}


@pytest.mark.parametrize("life", [timedelta(minutes=5), timedelta(days=-30)], ids=["payable", "over"])
@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_absence_of_an_answer_never_leads_to_another_invoice(sandbox, payer, tipped, kind, life):
    sandbox.set_lightning(["unclear-paid"])
    tip_id = tipped()
    assert step(payer, tip_id) == "paying"
    with transaction() as session:
        session.execute(update(Tip).values(payable_until=func.now() + life))
    look_ups = {"method": "GET", "path_prefix": f"/api/v1/stores/{STORE}/lightning"}
    sandbox.set_faults([{**NO_ANSWERS[kind], **look_ups}])
    assert [step(payer, tip_id) for _ in range(4)] == ["paying"] * 4
    sandbox.set_faults([])
    assert step(payer, tip_id) == "sent"
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [1]


def test_a_person_may_say_that_a_tip_was_paid(sandbox, payer, tipped):
    sandbox.set_lightning(["500-unheard"])
    tip_id = tipped()
    step(payer, tip_id)
    with transaction() as session:
        mark_sent(session, tip_id, "seen at the node", actor="cli")
    assert step(payer, tip_id) == "sent"
    assert sandbox.lightning_payments() == []


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("amount", "asks for 2,100,000 msat, not 1,050,000 msat"),
        ("network", "for network 'bc', not regtest"),
        ("description", "its description hash differs"),
        ("expired", "too soon to be paid"),
        ("none", "no BOLT11 invoice"),
        ("refusal", "not today"),
    ],
)
def test_invoice_that_is_not_what_was_asked_for_is_not_paid(sandbox, payer, tipped, flaw, said):
    sandbox.set_lightning(invoices=[flaw])
    tip_id = tipped()
    assert step(payer, tip_id) == "owed"
    assert said in load_tip(tip_id).last_error
    assert sandbox.lightning_payments() == []


def test_plain_description_is_paid(sandbox, payer, tipped):
    sandbox.set_lightning(invoices=["plain"])
    assert step(payer, tipped()) == "sent"


def test_recipient_may_have_a_tag_and_metadata_with_an_image(sandbox, payer, tipped):
    sandbox.set_lightning(invoices=["image"])
    tip_id = tipped()
    with transaction() as session:
        session.execute(update(Tip).values(recipient=func.replace(Tip.recipient, "dev@", "dev+tag@")))
    assert step(payer, tip_id) == "sent"


def test_tenth_failure_ends_it_and_a_person_may_start_again(sandbox, payer, tipped):
    with transaction() as session:
        add_endpoint(session, secret_box(load_settings()), "shop", "https://shop.example.com/", actor="cli")
    sandbox.set_lightning(invoices=["refusal"])
    tip_id = tipped()
    states = [step(payer, tip_id) for _ in range(MAX_ATTEMPTS)]
    assert states == ["owed"] * 9 + ["failed"]
    assert load_tip(tip_id).next_attempt_at is None
    with reading() as session:
        assert session.scalar(select(func.count()).where(OutboundEvent.event_type == EventType.TIP_FAILED)) == 1
    with transaction() as session:
        retry_tip(session, tip_id, actor="cli")
    sandbox.set_lightning()
    assert step(payer, tip_id) == "sent"
    with pytest.raises(Conflict, match="was sent"), transaction() as session:
        retry_tip(session, tip_id, actor="cli")


def test_payment_that_may_be_on_its_way_is_not_retried_by_hand(sandbox, payer, tipped):
    sandbox.set_lightning(["500-paid"])
    tip_id = tipped()
    step(payer, tip_id)
    with pytest.raises(Conflict, match="could pay it twice"), transaction() as session:
        retry_tip(session, tip_id, "it surely wasn't", actor="cli")


def test_invoice_that_another_tip_was_paid_by_is_refused(sandbox, payer, tipped):
    sandbox.set_lightning(invoices=["reused"])
    first, second = tipped(), tipped()
    assert step(payer, first) == "sent"
    assert step(payer, second) == "owed"
    assert "used for a tip before" in load_tip(second).last_error
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [1]


def test_own_failed_invoice_is_refused(sandbox, payer, tipped):
    """The node's record of the first request would pass for the outcome of the second, which is still in progress."""
    sandbox.set_lightning(["failed"])
    tip_id = tipped()
    assert step(payer, tip_id) == "owed"
    sandbox.set_lightning(["paid"], ["reused"])
    assert step(payer, tip_id) == "owed"
    assert "used for a tip before" in load_tip(tip_id).last_error
    sandbox.set_lightning(["paid"], ["good"])
    assert step(payer, tip_id) == "sent"
    assert [(payment["asked"], payment["paid"]) for payment in sandbox.lightning_payments()] == [(1, 0), (1, 1)]


def test_earlier_invoice_of_any_tip_is_refused(sandbox, payer, tipped, monkeypatch):
    """An invoice is known even after its tip went on to another."""
    sandbox.set_lightning(["failed"])
    first, second = tipped(), tipped()
    offers = []

    def offered(*arguments):
        offers.append(offers[0] if len(offers) >= 2 else ask_for_invoice(*arguments))
        return offers[-1]

    monkeypatch.setattr("keysat.tips.pay.ask_for_invoice", offered)
    assert [step(payer, first), step(payer, first)] == ["owed", "owed"]
    sandbox.set_lightning(["paid"])
    assert [step(payer, first), step(payer, second)] == ["owed", "owed"]
    assert all("used for a tip before" in load_tip(tip_id).last_error for tip_id in (first, second))
    assert [payment["asked"] for payment in sandbox.lightning_payments()] == [1, 1]


def test_tip_over_the_cap_fails_and_is_not_asked_for(sandbox, local_tips, tipped):
    local_tips.setenv("KEYSAT_TIP_MAX_SATS", "1000")
    load_settings.cache_clear()
    tip_id = tipped()
    assert step(Payer.of(load_settings()), tip_id) == "failed"
    assert load_tip(tip_id).last_error == "it is more than the largest single tip, 1,000 sats"
    assert sandbox.lightning_payments() == []


def test_day_has_a_budget_and_what_does_not_fit_waits(sandbox, local_tips, tipped):
    local_tips.setenv("KEYSAT_TIP_DAILY_SATS", str(TIP_MSAT // 1_000 * 2))
    load_settings.cache_clear()
    payer = Payer.of(load_settings())
    tips = [tipped() for _ in range(3)]
    assert [step(payer, tip) for tip in tips] == ["sent", "sent", "owed"]
    assert "no room" in load_tip(tips[2]).last_error
    with transaction() as session:
        session.execute(update(Tip).values(paying_since=Tip.paying_since - timedelta(hours=25)))
    assert step(payer, tips[2]) == "sent"


def test_provider_without_payments_is_skipped_with_the_reason(sandbox, payer, signer):
    make_account(kind="zaprite", base_url=sandbox.url, store_id="")
    sandbox.register_store("z", "key-of-test-store", kind="zaprite")
    make_catalog(terms=Terms(tip_recipient="dev@example.com", tip_pct_bps=500))
    invoice = make_invoice(status="settled", settled_at=func.now())
    with transaction() as session:
        issue(session, invoice.id, signer.key_id, actor="issue")
    with reading() as session:
        tip_id = session.scalar(select(Tip.id))
    assert step(payer, tip_id) == "skipped"
    assert load_tip(tip_id).last_error == "a zaprite provider makes no Lightning payments"


def test_price_in_another_currency_owes_no_tip_and_says_so(sandbox, payer, signer):
    make_account(kind="btcpay", base_url=sandbox.url)
    make_catalog(price=Money(2_000, "EUR"), terms=Terms(tip_recipient="dev@example.com", tip_pct_bps=500))
    invoice = make_invoice(status="settled", settled_at=func.now())
    with transaction() as session:
        issue(session, invoice.id, signer.key_id, actor="issue")
    assert audited("tip.skipped") == [{"reason": "the price is in EUR, not in sats"}]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Tip)) == 0


def test_nothing_about_a_tip_fails_or_delays_a_sale(sandbox, payer, tipped):
    sandbox.set_lightning(["failed"], ["refusal"])
    sandbox.set_faults([{"kind": "hang", "seconds": 60, "path_prefix": f"/api/v1/stores/{STORE}/lightning"}])
    tip_id = tipped()
    assert load_tip(tip_id).status == "owed"
    assert [row.status for row in load_licenses()] == ["active"]


def test_tip_with_rejected_key(sandbox, payer, tipped):
    """Nothing is paid, and no tip is lost."""
    tip_id = tipped()
    sandbox.register_store(STORE, "another-key-of-the-store")
    assert step(payer, tip_id) == "paying"
    assert step(payer, tip_id) == "paying"
    sandbox.register_store(STORE, "key-of-test-store")
    assert step(payer, tip_id) == "sent"


def test_due_tips_are_claimed_once(sandbox, tipped):
    tips = {tipped(), tipped()}
    with transaction() as session:
        assert {claim.row_id for claim in claim_tips(session, 10)} == tips
        assert claim_tips(session, 10) == []
    make_due()
    with transaction() as session:
        assert len(claim_tips(session, 10)) == 2


def test_unknown_tip_is_named(payer):
    with pytest.raises(NotFound, match="no tip"):
        step(payer, "01a21076-4515-7464-8cda-93e2d050f870")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"tip_recipient": "dev@example.com"}, "needs both"),
        ({"tip_pct_bps": 500}, "needs both"),
        ({"tip_recipient": "dev@127.0.0.1", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@localhost", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "a b@example.com", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@[::1]", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@example.com/x", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@10.0.0.1", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@0x7f.1", "tip_pct_bps": 500}, "no Lightning Address"),
        ({"tip_recipient": "dev@example.com", "tip_pct_bps": 10_001}, "1 to 10,000 basis points"),
    ],
)
@pytest.mark.usefixtures("empty_database")
def test_terms_that_can_not_be_are_refused(terms, said):
    with pytest.raises(InvalidInput, match=said):
        make_catalog(terms=Terms(**terms))
