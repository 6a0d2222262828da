"""The state of an invoice: named once, with its facts, and put into words without knowing who reads them."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from keysat.cli.invoice import why_line
from keysat.core.money import Money
from keysat.models import Invoice, License, ProviderAccount
from keysat.models.invoice_status import InvoiceStatus, ReviewReason
from keysat.operations.why import HINTS, REMEDIES, Remedy, State, evaluate_invoice
from keysat.operations.why_sentence import SENTENCES, sentence

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
OURS, ACCOUNT, LICENSE, OTHER = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
REVERSED = {"status": "settled", "reversed_at": NOW}


def invoice(**facts):
    """An invoice of 100 sat that was checked and not paid, not stored."""
    columns = {"id": OURS, "provider_account_id": ACCOUNT, "provider_invoice_id": "theirs", "status": "pending"}
    columns |= {"amount": 100, "currency": "BTC", "rest_paid": 0, "last_checked_at": NOW, "next_check_at": SOON}
    return Invoice(**{**columns, **facts})


def review(reason, **facts):
    return invoice(review_reason=reason, **facts)


def account(**facts):
    return ProviderAccount(name="main", **facts)


PAUSED = {"paused_at": NOW, "pause_reason": "by hand"}
FINE, ACTIVE = account(), License(id=LICENSE, status="active")
CASES = [
    (State.REVERSED, invoice(**REVERSED), FINE, None),
    (State.SETTLED_AGAIN, review("settled_again", **REVERSED), FINE, ACTIVE),
    (State.SHORT, review("underpaid", paid_amount=40), FINE, None),
    (State.SHORT, review("amount", paid_amount=40), FINE, None),
    (State.LATE, review("late", paid_amount=100), FINE, None),
    (State.NEVER_CONFIRMED, review("unconfirmed"), FINE, None),
    (State.OTHER_CURRENCY, review("currency"), FINE, None),
    (State.REFUNDED, review("refunded"), FINE, None),
    (State.INVALIDATED, review("invalidated"), FINE, None),
    (State.IN_REVIEW, review("settled_again"), FINE, None),
    (State.EXCESS, review("excess", status="settled", rest_of_id=OTHER), FINE, None),
    (State.DISMISSED, review("underpaid", status="expired", paid_amount=40, review_resolved_at=NOW), FINE, None),
    (State.CREDITED, invoice(status="settled", fulfilled_at=NOW, rest_of_id=OTHER, credited=60), FINE, None),
    (State.SEEN, review("underpaid", paid_amount=40, rest_paid=60), FINE, None),
    (State.SHORT, review("underpaid", paid_amount=40, rest_paid=60, next_check_at=None), FINE, None),
    (State.REFUNDED, review("refunded", status="settled", paid_amount=40, rest_paid=60), FINE, ACTIVE),
    (State.INVALIDATED, review("invalidated", status="settled", rest_of_id=OTHER, credited=60), FINE, None),
    (State.LICENSED, invoice(status="settled"), FINE, ACTIVE),
    (State.LICENSE_DUE, invoice(status="settled"), FINE, None),
    (State.NEVER_MADE, invoice(status="invalid", provider_invoice_id=None), FINE, None),
    (State.ACCOUNT_REJECTED, invoice(), account(**PAUSED, recheck_at=SOON), None),
    (State.ACCOUNT_PAUSED, invoice(), account(**PAUSED), None),
    (State.ACCOUNT_FAILING, invoice(), account(open_until=SOON, last_error="it is down"), None),
    (State.STUCK, invoice(last_error="it is down"), FINE, None),
    (State.OVERDUE, invoice(next_check_at=NOW - timedelta(minutes=5)), FINE, None),
    (State.PART_PAID, invoice(payment_seen_at=NOW, paid_amount=40), FINE, None),
    (State.SEEN, invoice(payment_seen_at=NOW, paid_amount=100), FINE, None),
    (State.UNCHECKED, invoice(last_checked_at=None), FINE, None),
    (State.EXPIRED, invoice(status="expired"), FINE, None),
    (State.INVALID, invoice(status="invalid"), FINE, None),
    (State.WAITING, invoice(), FINE, None),
]


@pytest.mark.parametrize(("state", "row", "account_row", "license_row"), CASES, ids=[case[0] for case in CASES])
def test_state_is_named_with_its_facts(state, row, account_row, license_row):
    why = evaluate_invoice(row, account_row, license_row, NOW)
    assert why.state == state
    assert (why.invoice_id, why.status, why.price) == (OURS, InvoiceStatus(row.status), Money(100, "BTC"))
    assert (why.account, why.license_id) == ("main", None if license_row is None else LICENSE)


@pytest.mark.parametrize(("state", "row", "account_row", "license_row"), CASES, ids=[case[0] for case in CASES])
def test_sentence_names_no_command(state, row, account_row, license_row):
    """The command line appends its own, everybody else shows the sentence as it is."""
    why = evaluate_invoice(row, account_row, license_row, NOW)
    assert not re.search(r"keysat|--|`|\{|None", sentence(why))
    line = why_line(why)
    assert line.startswith(sentence(why))
    assert ("`keysat " in line) == bool(why.remedies)
    assert not re.search(r"\{|None", line)


def test_each_state_has_a_case_a_sentence_and_its_commands():
    assert {case[0] for case in CASES} == set(SENTENCES) == set(State)
    assert set(HINTS) == set(REMEDIES)


def test_each_review_has_a_state_that_a_person_decides():
    for reason in ReviewReason:
        assert {Remedy.SETTLE, Remedy.DISMISS} == set(evaluate_invoice(review(reason), FINE, None, NOW).remedies)


def test_amounts_are_money():
    short = evaluate_invoice(review("underpaid", paid_amount=40), FINE, None, NOW)
    assert (short.paid, short.short, short.over) == (Money(40, "BTC"), Money(60, "BTC"), None)
    over = evaluate_invoice(invoice(status="settled", paid_amount=105), FINE, ACTIVE, NOW)
    assert (over.short, over.over) == (Money(0, "BTC"), Money(5, "BTC"))
    free = evaluate_invoice(invoice(status="settled", amount=0, paid_amount=5), None, ACTIVE, NOW)
    assert free.over is None


def test_braces_in_a_providers_error_are_text():
    why = evaluate_invoice(invoice(last_error="odd {cause} {"), FINE, None, NOW)
    assert why_line(why) == "the last check brought no usable response: odd {cause} {"


def test_unhandled_webhooks_end_the_sentence():
    why = evaluate_invoice(invoice(next_check_at=None), FINE, None, NOW, unhandled=2)
    assert sentence(why) == (
        "no payment was seen (pending); it is no longer checked; 2 webhooks about it wait to be handled"
    )
