"""A purchase in each state that an invoice can be in, stored as the product would store it."""

from datetime import timedelta

from sqlalchemy import func

from keysat.core.db import reading
from keysat.core.settings import load_settings
from keysat.licenses.signer import load_signer
from keysat.operations.why import State, read_why
from tests.builders import issue_now, load_invoice, make_invoice, set_account

NOW = func.now()
SETTLED = {"status": "settled", "settled_at": NOW}
CHECKED = {
    "last_checked_at": NOW - timedelta(seconds=20),
    "last_said": "New",
    "next_check_at": NOW + timedelta(seconds=40),
}
PAUSED = {"paused_at": NOW, "pause_reason": "by hand"}


def _review(reason, **facts):
    return {"review_reason": reason, "review_opened_at": NOW, **facts}


COLUMNS = {
    State.REVERSED: {**SETTLED, "reversed_at": NOW},
    State.SETTLED_AGAIN: {**SETTLED, "reversed_at": NOW, **_review("settled_again")},
    State.SHORT: _review("underpaid", status="expired", paid_amount=9_000),
    State.LATE: _review("late", status="expired", paid_amount=21_000),
    State.NEVER_CONFIRMED: _review("unconfirmed", status="invalid"),
    State.OTHER_CURRENCY: _review("currency", **SETTLED),
    State.REFUNDED: _review("refunded", **SETTLED),
    State.INVALIDATED: _review("invalidated", **SETTLED),
    State.IN_REVIEW: _review("settled_again"),
    State.EXCESS: _review("excess", **SETTLED),
    State.DISMISSED: _review("underpaid", status="expired", paid_amount=9_000, review_resolved_at=NOW),
    State.CREDITED: {**SETTLED, "fulfilled_at": NOW, "credited": 21_000},
    State.LICENSED: {**SETTLED, "paid_amount": 21_000},
    State.LICENSE_DUE: {**SETTLED, "paid_amount": 22_000},
    State.NEVER_MADE: {"status": "invalid", "provider_invoice_id": None, "checkout_url": None},
    State.ACCOUNT_REJECTED: {},
    State.ACCOUNT_PAUSED: {},
    State.ACCOUNT_FAILING: {},
    State.STUCK: {"last_error": "it is down", "error_count": 1},
    State.OVERDUE: {"next_check_at": NOW - timedelta(minutes=5)},
    State.PART_PAID: {"payment_seen_at": NOW, "paid_amount": 9_000},
    State.SEEN: {"payment_seen_at": NOW, "paid_amount": 21_000},
    State.UNCHECKED: {"last_checked_at": None, "last_said": None},
    State.EXPIRED: {"status": "expired"},
    State.INVALID: {"status": "invalid"},
    State.WAITING: {},
}
ACCOUNTS = {
    State.ACCOUNT_REJECTED: {**PAUSED, "recheck_at": NOW},
    State.ACCOUNT_PAUSED: PAUSED,
    State.ACCOUNT_FAILING: {"open_until": NOW + timedelta(minutes=5), "failure_count": 5, "last_error": "it is down"},
}


# The purchase whose rest an invoice is.
RESTS = {State.EXCESS: COLUMNS[State.DISMISSED], State.CREDITED: SETTLED}


# The page of a rest that is over is that of the purchase, so no page has these states.
SHOWN_AS = {State.CREDITED: State.LICENSED, State.EXCESS: State.DISMISSED}
SHOWN = [state for state in State if state not in SHOWN_AS]


def make_purchase(state):
    """Store a purchase in this state. Returns its invoice's id."""
    facts = {"rest_of_id": make_invoice(**RESTS[state]).id} if state in RESTS else {}
    invoice = make_invoice(**{**CHECKED, **COLUMNS[state], **facts})
    if state in ACCOUNTS:
        set_account(**ACCOUNTS[state])
    if state in {State.LICENSED, State.CREDITED}:
        issue_now(invoice.rest_of_id or invoice.id, load_signer(load_settings().signing_key_file).key_id)
    with reading() as session:
        found = read_why(session, load_invoice(invoice.id)).state
    assert found == state
    return invoice.id


def undo_account():
    """Let the account work again."""
    set_account(paused_at=None, pause_reason=None, recheck_at=None, open_until=None, failure_count=0, last_error=None)
