"""A person's decision: settle by hand or dismiss the review. Each has one reason in the audit log."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading, transaction
from keysat.core.errors import Conflict, InvalidInput, NotFound, NotPaid, RemoteNotFound
from keysat.invoices.due import claim_unfulfilled
from keysat.models import AuditLine
from keysat.models.invoice_status import PaymentException
from keysat.operations.status import read_status
from keysat.providers.base import ProviderStatus
from keysat.settlement.failed_check import give_up
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.resolve import acknowledge, dismiss, settle_by_hand
from tests.builders import audit_actions, check_invoice, issue_now, load_invoice, load_licenses, make_invoice

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def settle(invoice_id, note="paid in cash"):
    with transaction() as session:
        settle_by_hand(session, invoice_id, note, "cli")


def dismiss_now(invoice_id, note="sent back"):
    with transaction() as session:
        dismiss(session, invoice_id, note, "cli")


@pytest.fixture
def underpaid(fake):
    """An expired invoice whose review is open."""
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, 400)
    check_invoice(invoice.id)
    return invoice


def last_line(subject_id):
    with reading() as session:
        lines = select(AuditLine).where(AuditLine.subject_id == subject_id).order_by(AuditLine.id.desc()).limit(1)
        return session.scalars(lines).one()


@pytest.mark.parametrize("status", ["pending", "expired", "invalid"])
def test_invoice_settled_by_hand_owes_its_license(status, signer):
    invoice = make_invoice(status=status, last_error="it is down", error_count=3)
    settle(invoice.id)
    row = load_invoice(invoice.id)
    assert (row.status, row.exception, row.last_error, row.error_count) == ("settled", "marked", None, 0)
    assert row.settled_at is not None
    assert row.next_check_at is not None
    assert row.review_resolved_at is None
    assert issue_now(invoice.id, signer.key_id)


def test_settling_by_hand_records_who_and_why():
    invoice = make_invoice()
    settle(invoice.id, "paid in cash")
    line = last_line(invoice.id)
    assert (line.actor, line.action) == ("cli", "invoice.settled")
    assert line.detail == {"note": "paid in cash", "by_hand": True}


def test_settling_by_hand_closes_the_review_and_keeps_what_was_odd(underpaid):
    settle(underpaid.id)
    row = load_invoice(underpaid.id)
    assert (row.status, row.exception, row.review_reason) == ("settled", "partial", "underpaid")
    assert row.review_resolved_at is not None


def test_settled_invoice_can_not_be_settled_again(signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    with pytest.raises(Conflict, match="is settled already"):
        settle(invoice.id)
    assert audit_actions(invoice.id) == ["invoice.opened"]


def test_settled_by_hand_stays_settled(fake, underpaid, signer):
    settle(underpaid.id)
    issue_now(underpaid.id, signer.key_id)
    check_invoice(underpaid.id)
    assert load_invoice(underpaid.id).status == "settled"
    assert load_licenses(underpaid.id)[0].status == "active"


def test_dismissing_closes_the_review_and_leaves_the_rest(underpaid):
    before = load_invoice(underpaid.id)
    dismiss_now(underpaid.id)
    after = load_invoice(underpaid.id)
    assert after.review_resolved_at is not None
    for column in ("status", "exception", "paid_amount", "review_reason", "next_check_at", "settled_at"):
        assert getattr(after, column) == getattr(before, column)
    assert last_line(underpaid.id).action == "invoice.review_dismissed"
    assert last_line(underpaid.id).detail == {"note": "sent back"}


def test_review_is_dismissed_once(underpaid):
    dismiss_now(underpaid.id)
    lines = audit_actions(underpaid.id)
    with pytest.raises(Conflict, match="is not in review"):
        dismiss_now(underpaid.id)
    assert audit_actions(underpaid.id) == lines


def test_invoice_without_a_review_has_none_to_dismiss():
    with pytest.raises(Conflict, match="is not in review"):
        dismiss_now(make_invoice().id)


def test_dismissed_review_is_not_raised_again(underpaid):
    dismiss_now(underpaid.id)
    lines = audit_actions(underpaid.id)
    check_invoice(underpaid.id)
    assert audit_actions(underpaid.id) == lines
    assert load_invoice(underpaid.id).review_resolved_at is not None


def test_money_that_comes_after_a_dismissal_still_settles(fake, underpaid):
    dismiss_now(underpaid.id)
    fake.say(underpaid.provider_invoice_id, ProviderStatus.SETTLED, paid=underpaid.amount)
    assert check_invoice(underpaid.id).license_due


def test_refund_after_a_dismissal_is_a_review_of_its_own(fake, underpaid):
    dismiss_now(underpaid.id)
    fake.say(underpaid.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(underpaid.id)
    row = load_invoice(underpaid.id)
    assert (row.review_reason, row.review_resolved_at) == ("refunded", None)


@pytest.mark.parametrize("note", ["", "  ", "\n\t"])
@pytest.mark.parametrize("act", [settle, dismiss_now])
def test_decision_without_a_reason_is_refused(underpaid, act, note):
    with pytest.raises(InvalidInput, match="say why"):
        act(underpaid.id, note)
    assert load_invoice(underpaid.id).status == "expired"
    assert load_invoice(underpaid.id).review_resolved_at is None


@pytest.mark.parametrize("act", [settle, dismiss_now])
def test_unknown_invoice_is_refused(act):
    with pytest.raises(NotFound, match="no invoice"):
        act(uuid4())


def refunded_before_its_license(fake):
    invoice = make_invoice(status="settled", settled_at=func.now())
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id, SettlementRules(reversal="review"))
    return invoice


def test_dismissed_refund_issues_no_license(fake, signer):
    invoice = refunded_before_its_license(fake)
    dismiss_now(invoice.id)
    with transaction() as session:
        assert claim_unfulfilled(session, 9) == []
    with pytest.raises(NotPaid, match="reversed"):
        issue_now(invoice.id, signer.key_id)
    assert not check_invoice(invoice.id).license_due


def test_settling_a_refund_by_hand_issues_the_license_after_all(fake, signer):
    invoice = refunded_before_its_license(fake)
    with pytest.raises(NotPaid, match="in review"):
        issue_now(invoice.id, signer.key_id)
    settle(invoice.id)
    assert issue_now(invoice.id, signer.key_id)
    assert load_invoice(invoice.id).settled_at == invoice.settled_at


def test_settle_by_hand_after_reversal(fake, signer):
    """It restores an invoice that was reversed before its license."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).reversed_at is not None
    settle(invoice.id)
    assert issue_now(invoice.id, signer.key_id)


def test_acknowledged_error_is_no_alarm_until_there_was_an_answer(fake):
    invoice = make_invoice()
    fake.trouble = RemoteNotFound("nothing (404)")
    with transaction() as session:
        give_up(session, invoice.id, fake.trouble)
    assert status_of_all().backlog.failing == 1
    with transaction() as session:
        acknowledge(session, invoice.id, "the store was deleted", "cli")
    assert status_of_all().backlog.failing == 0
    assert load_invoice(invoice.id).next_check_at is not None
    fake.trouble = None
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).acknowledged_at is None


def test_invoice_without_an_error_is_not_acknowledged(fake):
    invoice = make_invoice()
    with pytest.raises(Conflict, match="got a usable response"), transaction() as session:
        acknowledge(session, invoice.id, "nothing to see", "cli")


def status_of_all():
    with reading() as session:
        return read_status(session, 15)
