"""The decision: the whole table, the amounts, and the properties of every decision."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keysat.core.money import DECIMALS, Money
from keysat.models.invoice_status import InvoiceStatus, PaymentException, ReviewReason
from keysat.providers.base import InvoiceSnapshot, ProviderStatus
from keysat.settlement.decision import Reading, decide, gone, read
from keysat.settlement.outcome import Action, InvoiceState, Outcome, SettlementRules

PRICE = Money(10_000, "BTC")
NONE, LATE, PARTIAL, OVER, MARKED = PaymentException
PENDING, EXPIRED, INVALID, SETTLED = InvoiceStatus
RULES = SettlementRules()
ISSUE_LATE, REVIEW_LATE = SettlementRules(late_payment="issue"), SettlementRules(late_payment="review")


def says(status, exception=NONE, paid=0, currency="BTC", charged=PRICE):
    """A snapshot, with `paid` None if the provider doesn't report it."""
    return InvoiceSnapshot(
        provider_invoice_id="theirs",
        status=ProviderStatus(status),
        exception=exception,
        charged=charged,
        paid=None if paid is None else Money(paid, currency),
        order_id="ours",
        provider_status=f"{status}/{exception}",
    )


# The columns of the table in docs: what the provider can say.
ANSWERS = {
    "pending": says("pending"),
    "processing": says("processing", paid=10_000),
    "settled": says("settled", paid=10_000),
    "expired": says("expired"),
    "paid late": says("expired", LATE, paid=10_000),
    "underpaid": says("expired", PARTIAL, paid=400),
    "invalid": says("invalid"),
    "refunded": says("refunded"),
    "unknown": says("unknown"),
}
KEEP = Outcome(Action.KEEP)
SETTLE = Outcome(Action.SETTLE)
SETTLE_LATE = Outcome(Action.SETTLE, LATE)
EXPIRE = Outcome(Action.EXPIRE, unpaid=True)
EXPIRE_UNDERPAID = Outcome(Action.EXPIRE, PARTIAL, ReviewReason.UNDERPAID)
INVALIDATE = Outcome(Action.INVALIDATE, unpaid=True)
REVIEW_UNDERPAID = Outcome(Action.REVIEW, PARTIAL, ReviewReason.UNDERPAID)
REVIEW_PAID_LATE = Outcome(Action.REVIEW, LATE, ReviewReason.LATE)
REVIEW_REFUNDED = Outcome(Action.REVIEW, NONE, ReviewReason.REFUNDED)
REVIEW_INVALIDATED = Outcome(Action.REVIEW, NONE, ReviewReason.INVALIDATED)
REVERSE = Outcome(Action.REVERSE)
KEEP_UNKNOWN = Outcome(Action.KEEP, alarm="the provider's status unknown/none is not known to this version")


def alarm(provider_status):
    return Outcome(Action.KEEP, alarm=f"the invoice is settled here, but {provider_status} at the provider")


TABLE = [
    (PENDING, "pending", KEEP),
    (PENDING, "processing", KEEP),
    (PENDING, "settled", SETTLE),
    (PENDING, "expired", EXPIRE),
    (PENDING, "paid late", SETTLE_LATE),
    (PENDING, "underpaid", EXPIRE_UNDERPAID),
    (PENDING, "invalid", INVALIDATE),
    (PENDING, "refunded", REVIEW_REFUNDED),
    (PENDING, "unknown", KEEP_UNKNOWN),
    (EXPIRED, "pending", KEEP),
    (EXPIRED, "processing", KEEP),
    (EXPIRED, "settled", SETTLE_LATE),
    (EXPIRED, "expired", KEEP),
    (EXPIRED, "paid late", SETTLE_LATE),
    (EXPIRED, "underpaid", REVIEW_UNDERPAID),
    (EXPIRED, "invalid", INVALIDATE),
    (EXPIRED, "refunded", REVIEW_REFUNDED),
    (EXPIRED, "unknown", KEEP_UNKNOWN),
    (INVALID, "pending", KEEP),
    (INVALID, "processing", KEEP),
    (INVALID, "settled", SETTLE),
    (INVALID, "expired", KEEP),
    (INVALID, "paid late", REVIEW_PAID_LATE),
    (INVALID, "underpaid", REVIEW_UNDERPAID),
    (INVALID, "invalid", KEEP),
    (INVALID, "refunded", KEEP),
    (INVALID, "unknown", KEEP_UNKNOWN),
    (SETTLED, "pending", alarm("pending/none")),
    (SETTLED, "processing", alarm("processing/none")),
    (SETTLED, "settled", KEEP),
    (SETTLED, "expired", alarm("expired/none")),
    (SETTLED, "paid late", KEEP),
    (SETTLED, "underpaid", alarm("expired/partial")),
    (SETTLED, "invalid", REVERSE),
    (SETTLED, "refunded", REVERSE),
    (SETTLED, "unknown", KEEP_UNKNOWN),
]


def test_table_has_every_status_and_every_answer():
    assert {(status, answer) for status, answer, _ in TABLE} == {(s, a) for s in InvoiceStatus for a in ANSWERS}
    assert {read(snapshot) for snapshot in ANSWERS.values()} == set(Reading)


@pytest.mark.parametrize(("status", "answer", "outcome"), TABLE)
def test_table(status, answer, outcome):
    assert decide(InvoiceState(status, PRICE), ANSWERS[answer], RULES) == outcome


@pytest.mark.parametrize(("status", "answer", "outcome"), TABLE)
def test_holding_late_payments_for_review_changes_only_the_late_column(status, answer, outcome):
    late = (status, answer) in {(PENDING, "paid late"), (EXPIRED, "paid late"), (EXPIRED, "settled")}
    assert decide(InvoiceState(status, PRICE), ANSWERS[answer], REVIEW_LATE) == (REVIEW_PAID_LATE if late else outcome)


@pytest.mark.parametrize(("status", "answer", "outcome"), TABLE)
@pytest.mark.parametrize("reversal", ["suspend", "revoke"])
def test_how_to_withdraw_is_no_part_of_the_decision(status, answer, outcome, reversal):
    assert decide(InvoiceState(status, PRICE), ANSWERS[answer], SettlementRules(reversal=reversal)) == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"), [("invalid", REVIEW_INVALIDATED), ("refunded", REVIEW_REFUNDED), ("settled", KEEP)]
)
def test_holding_reversals_for_review_keeps_the_license(answer, outcome):
    assert decide(InvoiceState(SETTLED, PRICE), ANSWERS[answer], SettlementRules(reversal="review")) == outcome


@pytest.mark.parametrize("answer", ["invalid", "refunded"])
@pytest.mark.parametrize("reversal", ["suspend", "revoke", "review"])
def test_reversed_invoice_is_not_reversed_again(answer, reversal):
    assert (
        decide(InvoiceState(SETTLED, PRICE, reversed=True), ANSWERS[answer], SettlementRules(reversal=reversal)) == KEEP
    )


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (PENDING, says("settled", paid=9_999), ReviewReason.AMOUNT),
        (PENDING, says("settled", paid=9_999, currency="EUR"), ReviewReason.CURRENCY),
        (PENDING, ANSWERS["refunded"], ReviewReason.REFUNDED),
        (EXPIRED, ANSWERS["underpaid"], ReviewReason.UNDERPAID),
        (EXPIRED, ANSWERS["refunded"], ReviewReason.REFUNDED),
        (EXPIRED, ANSWERS["paid late"], ReviewReason.LATE),
        (INVALID, ANSWERS["paid late"], ReviewReason.LATE),
        (INVALID, ANSWERS["underpaid"], ReviewReason.UNDERPAID),
        (SETTLED, ANSWERS["refunded"], ReviewReason.REFUNDED),
        (SETTLED, ANSWERS["invalid"], ReviewReason.INVALIDATED),
    ],
)
def test_review_is_raised_once(status, answer, reason):
    rules = SettlementRules(late_payment="review", reversal="review")
    first = decide(InvoiceState(status, PRICE), answer, rules)
    assert (first.action, first.review) == (Action.REVIEW, reason)
    paid = answer.paid.amount
    again = InvoiceState(status, PRICE, reviewed=frozenset({reason}), paid=paid)
    assert decide(again, answer, rules) == KEEP
    if status is not SETTLED:
        more = replace(answer, paid=Money(paid + 1, "BTC"))
        assert decide(again, more, rules).action is not Action.KEEP


def test_another_reason_raises_another_review():
    known = InvoiceState(EXPIRED, PRICE, reviewed=frozenset({ReviewReason.UNDERPAID}))
    assert decide(known, ANSWERS["refunded"], RULES) == REVIEW_REFUNDED


@pytest.mark.parametrize("reviewed", list(ReviewReason))
@pytest.mark.parametrize("status", [PENDING, EXPIRED, INVALID])
def test_full_payment_settles_after_reviews(status, reviewed):
    assert decide(InvoiceState(status, PRICE, frozenset({reviewed})), ANSWERS["settled"], RULES).action is Action.SETTLE


@pytest.mark.parametrize(
    ("snapshot", "column"),
    [
        (says("expired", OVER, paid=20_000), Reading.PAID_LATE),
        (says("expired", MARKED), Reading.UNKNOWN),
        (says("settled", PARTIAL), Reading.SETTLED),
        (says("pending", PARTIAL), Reading.OPEN),
        (says("invalid", MARKED), Reading.INVALID),
        (says("unknown", LATE, paid=10_000), Reading.UNKNOWN),
    ],
)
def test_odd_pairs_of_status_and_exception_have_their_column(snapshot, column):
    assert read(snapshot) is column


LESS_1_PERCENT = SettlementRules(tolerance_bps=100)
AMOUNT, CURRENCY = ReviewReason.AMOUNT, ReviewReason.CURRENCY
MONEY = [
    ("exact", says("settled", paid=10_000), RULES, Outcome(Action.SETTLE)),
    ("one over", says("settled", paid=10_001), RULES, Outcome(Action.SETTLE, OVER)),
    ("over as the provider says", says("settled", OVER, paid=20_000), RULES, Outcome(Action.SETTLE, OVER)),
    ("one under", says("settled", paid=9_999), RULES, Outcome(Action.REVIEW, NONE, AMOUNT)),
    ("nothing", says("settled", paid=0), RULES, Outcome(Action.REVIEW, NONE, AMOUNT)),
    ("last within tolerance", says("settled", paid=9_900), LESS_1_PERCENT, Outcome(Action.SETTLE)),
    ("first outside tolerance", says("settled", paid=9_899), LESS_1_PERCENT, Outcome(Action.REVIEW, NONE, AMOUNT)),
    ("over, with tolerance", says("settled", paid=10_001), LESS_1_PERCENT, Outcome(Action.SETTLE, OVER)),
    ("unreported", says("settled", paid=None), RULES, Outcome(Action.SETTLE)),
    (
        "unreported, and less was charged",
        says("settled", paid=None, charged=Money(9_999, "BTC")),
        RULES,
        Outcome(Action.REVIEW, NONE, AMOUNT),
    ),
    (
        "nothing reported",
        says("settled", paid=None, charged=None),
        RULES,
        Outcome(Action.REVIEW, NONE, AMOUNT),
    ),
    (
        "other currency",
        says("settled", paid=10_000, currency="EUR"),
        RULES,
        Outcome(Action.REVIEW, NONE, CURRENCY),
    ),
    (
        "other currency charged",
        says("settled", paid=None, charged=Money(10_000, "EUR")),
        RULES,
        Outcome(Action.REVIEW, NONE, CURRENCY),
    ),
    ("marked, nothing paid", says("settled", MARKED, paid=0), RULES, Outcome(Action.SETTLE, MARKED)),
    (
        "marked, nothing told",
        says("settled", MARKED, paid=None, charged=None),
        RULES,
        Outcome(Action.SETTLE, MARKED),
    ),
    (
        "marked in another currency",
        says("settled", MARKED, paid=0, currency="EUR"),
        RULES,
        Outcome(Action.REVIEW, MARKED, CURRENCY),
    ),
    ("late", says("expired", LATE, paid=10_000), ISSUE_LATE, Outcome(Action.SETTLE, LATE)),
    ("late, as settled", says("settled", LATE, paid=10_000), ISSUE_LATE, Outcome(Action.SETTLE, LATE)),
    ("late and under", says("expired", LATE, paid=9_999), ISSUE_LATE, Outcome(Action.REVIEW, LATE, AMOUNT)),
    ("late and over", says("expired", LATE, paid=10_001), ISSUE_LATE, Outcome(Action.SETTLE, OVER)),
    ("late and over, as over", says("expired", OVER, paid=10_001), ISSUE_LATE, Outcome(Action.SETTLE, OVER)),
    ("late, for review", says("expired", LATE, paid=10_000), REVIEW_LATE, REVIEW_PAID_LATE),
    ("late and over, for review", says("expired", OVER, paid=10_001), REVIEW_LATE, REVIEW_PAID_LATE),
    (
        "late and under, for review",
        says("expired", LATE, paid=9_999),
        REVIEW_LATE,
        Outcome(Action.REVIEW, LATE, AMOUNT),
    ),
    (
        "late in another currency",
        says("expired", LATE, paid=10_000, currency="USD"),
        ISSUE_LATE,
        Outcome(Action.REVIEW, LATE, CURRENCY),
    ),
]


@pytest.mark.parametrize(
    ("snapshot", "rules", "outcome"), [case[1:] for case in MONEY], ids=[case[0] for case in MONEY]
)
def test_amounts_of_a_pending_invoice(snapshot, rules, outcome):
    assert decide(InvoiceState(PENDING, PRICE), snapshot, rules) == outcome


@pytest.mark.parametrize(
    ("snapshot", "outcome"),
    [
        (says("settled", paid=10_000), Outcome(Action.SETTLE, LATE)),
        (says("settled", paid=20_000), Outcome(Action.SETTLE, OVER)),
        (says("settled", MARKED, paid=0), Outcome(Action.SETTLE, MARKED)),
        (says("settled", paid=9_999), Outcome(Action.REVIEW, NONE, AMOUNT)),
    ],
)
def test_amounts_of_an_expired_invoice(snapshot, outcome):
    assert decide(InvoiceState(EXPIRED, PRICE), snapshot, RULES) == outcome


moneys = st.none() | st.builds(Money, st.integers(0, 12_000), st.sampled_from(["BTC", "EUR"]))
snapshots = st.builds(
    InvoiceSnapshot,
    provider_invoice_id=st.just("theirs"),
    status=st.sampled_from(ProviderStatus),
    exception=st.sampled_from(PaymentException),
    charged=moneys,
    paid=moneys,
    order_id=st.just("ours"),
    provider_status=st.just("said"),
)
prices = st.builds(Money, st.integers(1, 12_000), st.sampled_from(sorted(DECIMALS)))
knowns = st.builds(
    InvoiceState,
    status=st.sampled_from(InvoiceStatus),
    price=prices,
    reviewed=st.frozensets(st.sampled_from(ReviewReason)),
    reversed=st.booleans(),
)
rules = st.builds(
    SettlementRules,
    late_payment=st.sampled_from(["issue", "review"]),
    reversal=st.sampled_from(["suspend", "revoke", "review"]),
    tolerance_bps=st.integers(0, 5_000),
)
often = settings(deadline=None, max_examples=200)


@often
@given(knowns, snapshots, rules)
def test_unknown_answer_never_changes_anything(known, snapshot, rules):
    outcome = decide(known, replace(snapshot, status=ProviderStatus.UNKNOWN), rules)
    assert (outcome.action, outcome.review) == (Action.KEEP, None)


@often
@given(knowns, snapshots, rules)
def test_settled_invoice_stays_settled(known, snapshot, rules):
    outcome = decide(replace(known, status=SETTLED), snapshot, rules)
    assert outcome.action in {Action.KEEP, Action.REVIEW, Action.REVERSE}


@often
@given(knowns, snapshots, rules)
def test_only_money_that_was_confirmed_settles(known, snapshot, rules):
    outcome = decide(known, snapshot, rules)
    if outcome.action is not Action.SETTLE:
        return
    amounts = [money for money in (snapshot.charged, snapshot.paid) if money is not None]
    assert {money.currency for money in amounts} <= {known.price.currency}
    assert known.status is not SETTLED
    if snapshot.status is ProviderStatus.EXPIRED:
        assert snapshot.exception in {LATE, OVER}
        assert rules.late_payment == "issue"
    else:
        assert snapshot.status is ProviderStatus.SETTLED
    if snapshot.exception is MARKED:
        return
    confirmed = snapshot.charged if snapshot.paid is None else snapshot.paid
    assert confirmed.amount * 10_000 > known.price.amount * (10_000 - rules.tolerance_bps) - 10_000


@often
@given(knowns, snapshots, rules)
def test_full_payment_in_time_always_settles(known, snapshot, rules):
    paid = replace(snapshot, status=ProviderStatus.SETTLED, charged=known.price, paid=known.price)
    known = replace(known, reversed=False)
    wanted = Action.KEEP if known.status is SETTLED else Action.SETTLE
    if known.status is EXPIRED:
        rules = replace(rules, late_payment="issue")
    assert decide(known, paid, rules).action is wanted


@often
@given(knowns, snapshots, rules)
def test_money_that_came_in_is_settled_or_seen_by_a_person(known, snapshot, rules):
    """No snapshot with money is ignored: it settles, or there is a review of it, now or before."""
    if read(snapshot) not in {Reading.SETTLED, Reading.PAID_LATE, Reading.UNDERPAID} or known.status is SETTLED:
        return
    outcome = decide(known, snapshot, rules)
    assert outcome.action is Action.SETTLE or outcome.review is not None or known.reviewed


@often
@given(knowns, snapshots, rules)
def test_every_review_names_its_reason_and_none_is_raised_twice(known, snapshot, rules):
    outcome = decide(known, snapshot, rules)
    if outcome.action is Action.REVIEW:
        assert outcome.review is not None
        more = snapshot.paid is not None and snapshot.paid.amount > known.paid
        assert outcome.review not in known.reviewed or more


CLOSING = [
    says("expired", paid=10_000),
    says("expired", PARTIAL, paid=10_000),
    says("expired", OVER, paid=9_000),
    says("invalid", paid=10_000),
    says("invalid", MARKED, paid=10_000),
    says("invalid", paid=1),
    says("invalid", paid=1, currency="EUR"),
]


@pytest.mark.parametrize("answer", CLOSING)
@pytest.mark.parametrize("status", [PENDING, EXPIRED, INVALID])
def test_closing_with_money_is_a_review_that_keeps_the_slot(status, answer):
    outcome = decide(InvoiceState(status, PRICE), answer, RULES)
    assert outcome.review is not None
    assert not outcome.unpaid


@pytest.mark.parametrize("known", [{"paid": 400}, {"seen": True}])
@pytest.mark.parametrize("answer", [says("expired"), says("invalid"), says("expired", paid=None)])
def test_closing_after_money_was_seen_is_a_review(known, answer):
    outcome = decide(InvoiceState(PENDING, PRICE, **known), answer, RULES)
    assert outcome.review is (ReviewReason.UNDERPAID if "paid" in known else ReviewReason.UNCONFIRMED)
    assert not outcome.unpaid


@pytest.mark.parametrize("status", [PENDING, EXPIRED, INVALID])
@pytest.mark.parametrize("answer", [says("pending", paid=10_000), says("processing"), says("invalid", paid=10_000)])
def test_full_payment_is_never_called_underpaid(status, answer):
    outcome = decide(InvoiceState(status, PRICE, last=True), answer, RULES)
    assert outcome.review is ReviewReason.UNCONFIRMED


@pytest.mark.parametrize("status", [PENDING, EXPIRED, INVALID])
def test_last_check_without_money_frees_the_slot(status):
    assert decide(InvoiceState(status, PRICE, last=True), says("expired"), RULES).unpaid


def test_more_money_for_a_closed_invoice_is_reviewed_again():
    known = InvoiceState(INVALID, PRICE, reviewed=frozenset({ReviewReason.UNDERPAID}), paid=400)
    assert decide(known, says("invalid", paid=400), RULES) == KEEP
    assert decide(known, says("invalid", paid=500), RULES).review is ReviewReason.UNDERPAID
    assert decide(known, says("invalid", paid=10_000), RULES).review is ReviewReason.UNCONFIRMED


def test_settled_again_after_a_reversal_is_a_review():
    known = InvoiceState(SETTLED, PRICE, reversed=True)
    assert decide(known, ANSWERS["settled"], RULES).review is ReviewReason.SETTLED_AGAIN
    again = replace(known, reviewed=frozenset({ReviewReason.SETTLED_AGAIN}))
    assert decide(again, ANSWERS["settled"], RULES) == KEEP


@pytest.mark.parametrize("known", [{"paid": 400}, {"seen": True}, {"paid": 10_000}])
def test_money_of_an_invoice_that_is_gone_is_a_review(known):
    assert gone(InvoiceState(PENDING, PRICE, **known)).review is not None


@often
@given(knowns, snapshots, rules)
def test_only_odd_answers_raise_an_alarm_and_an_alarm_changes_nothing(known, snapshot, rules):
    outcome = decide(known, snapshot, rules)
    if outcome.alarm is not None:
        assert outcome.action is Action.KEEP
        assert known.status is SETTLED or read(snapshot) is Reading.UNKNOWN
