"""One check of an invoice: each status has its effect once, and a failure changes only the account."""

import threading
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from keysat.accounts import manage
from keysat.accounts.breaker import COOL_DOWN, callable_accounts, record_failure
from keysat.accounts.recheck import claim_rechecks, pause_rejected
from keysat.core.db import reading, transaction
from keysat.core.errors import (
    AccountUnusable,
    CredentialsRejected,
    NotFound,
    RemoteNotFound,
    RemoteRefused,
    RemoteResponseInvalid,
    RemoteUnavailable,
)
from keysat.core.hints import Hint
from keysat.models import AuditLine, Invoice
from keysat.models.invoice_status import PaymentException
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.operations.timeline import timeline
from keysat.providers.base import ProviderStatus
from keysat.settlement.failed_check import AccountNotCallable, give_up
from keysat.settlement.outcome import Action, SettlementRules
from keysat.settlement.resolve import dismiss, settle_by_hand
from keysat.tasks.tasks import recheck_account
from tests.builders import (
    PRICE,
    audit_actions,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_invoice,
    set_account,
    set_columns,
)

OPENED = "invoice.opened"
LATE, PARTIAL, OVER, MARKED = (PaymentException(name) for name in ("late", "partial", "over", "marked"))

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def invoice(fake):
    return make_invoice()


@pytest.fixture
def check_as(fake, invoice):
    """Sets the provider's status of the invoice, then checks it."""

    def say(status, exception=PaymentException.NONE, paid=0, rules=None):
        fake.say(invoice.provider_invoice_id, ProviderStatus(status), exception, paid)
        return check_invoice(invoice.id, rules)

    return say


@pytest.fixture
def licensed_invoice(invoice, signer, check_as):
    """The invoice, settled and with its license."""
    check_as("settled", paid=PRICE)
    issue_now(invoice.id, signer.key_id)
    return invoice


class Reacting(dict):
    """The fake provider's ledger, where something happens during a read."""

    def __init__(self, snapshots, reaction):
        super().__init__(snapshots)
        self.reaction = reaction

    def __getitem__(self, invoice_id):
        self.reaction()
        return super().__getitem__(invoice_id)


def versions(invoice):
    """Where PostgreSQL keeps the invoice's and the account's rows, and who wrote them: the same unless written."""
    with reading() as session:
        return session.execute(
            text(
                "SELECT i.ctid::text, i.xmin::text, a.ctid::text, a.xmin::text, (SELECT count(*) FROM audit_log) "
                "FROM invoices i JOIN provider_accounts a ON a.id = i.provider_account_id WHERE i.id = :id"
            ),
            {"id": invoice.id},
        ).one()


def last_audit(subject_id):
    with reading() as session:
        lines = select(AuditLine).where(AuditLine.subject_id == subject_id).order_by(AuditLine.id.desc()).limit(1)
        return session.scalars(lines).one()


def account_names_callable():
    with reading() as session:
        return len(callable_accounts(session))


def give_up_on(invoice, error):
    with transaction() as session:
        give_up(session, invoice.id, error)


def wait_of(invoice):
    """The time until the next check."""
    with reading() as session:
        return load_invoice(invoice.id).next_check_at - session.scalar(select(func.now()))


# The effects of each status


@pytest.mark.parametrize(
    ("answer", "exception", "paid", "after", "noted", "event"),
    [
        ("settled", PaymentException.NONE, PRICE, "settled", "none", "invoice.settled"),
        ("settled", OVER, PRICE + 1, "settled", "over", "invoice.settled"),
        ("settled", MARKED, 0, "settled", "marked", "invoice.settled"),
        ("expired", LATE, PRICE, "settled", "late", "invoice.settled"),
        ("expired", PaymentException.NONE, 0, "expired", "none", "invoice.expired"),
        ("invalid", PaymentException.NONE, 0, "invalid", "none", "invoice.invalid"),
        ("settled", PaymentException.NONE, PRICE - 1, "pending", "none", "invoice.review_needed"),
        ("expired", PARTIAL, 400, "expired", "partial", "invoice.expired"),
        ("refunded", PaymentException.NONE, 0, "pending", "none", "invoice.review_needed"),
    ],
)
def test_answer_is_applied_with_its_line_in_the_audit_log(
    invoice, check_as, answer, exception, paid, after, noted, event
):
    check_as(answer, exception, paid)
    row = load_invoice(invoice.id)
    assert (row.status, row.exception, row.paid_amount) == (after, noted, paid)
    assert audit_actions(invoice.id) == [OPENED, event]


def test_audit_line_has_status_and_payment(invoice, check_as):
    check_as("expired", PARTIAL, 400)
    line = last_audit(invoice.id)
    assert line.actor == "reconcile"
    assert line.detail == {
        "provider_says": "expired/partial",
        "exception": "partial",
        "paid": "400 sat",
        "review": "underpaid",
    }


def test_settled_invoice_owes_its_license_at_once(invoice, check_as):
    result = check_as("settled", paid=PRICE)
    assert result.license_due
    row = load_invoice(invoice.id)
    assert row.settled_at is not None
    assert timedelta(0) < wait_of(invoice) <= timedelta(seconds=30)


@pytest.mark.parametrize("status", ["pending", "processing", "expired", "invalid", "refunded", "unknown"])
def test_unpaid_invoice_owes_no_license(check_as, status):
    assert not check_as(status).license_due


@pytest.mark.parametrize(
    ("answer", "exception", "paid", "reason"),
    [
        ("settled", PaymentException.NONE, PRICE - 1, "amount"),
        ("expired", PARTIAL, 400, "underpaid"),
        ("refunded", PaymentException.NONE, 0, "refunded"),
    ],
)
def test_money_that_needs_a_person_opens_a_review_once(invoice, check_as, answer, exception, paid, reason):
    check_as(answer, exception, paid)
    row = load_invoice(invoice.id)
    assert row.review_reason == reason
    assert row.review_opened_at is not None
    assert row.review_resolved_at is None
    check_as(answer, exception, paid)
    assert len(audit_actions(invoice.id)) == 2


def test_late_payment_waits_for_a_person_where_the_operator_says_so(invoice, check_as):
    check_as("expired", LATE, PRICE, SettlementRules(late_payment="review"))
    row = load_invoice(invoice.id)
    assert (row.status, row.review_reason, row.exception) == ("pending", "late", "late")


def test_payment_in_full_closes_the_review(invoice, check_as):
    check_as("settled", paid=PRICE - 1)
    check_as("settled", paid=PRICE)
    row = load_invoice(invoice.id)
    assert (row.status, row.review_reason) == ("settled", "amount")
    assert row.review_resolved_at is not None


def test_expired_invoice_that_is_paid_late_settles(invoice, check_as):
    check_as("expired")
    assert check_as("expired", LATE, PRICE).license_due
    assert audit_actions(invoice.id) == [OPENED, "invoice.expired", "invoice.settled"]


def test_invalid_invoice_that_the_merchant_marks_settles(invoice, check_as):
    check_as("invalid")
    assert check_as("settled", MARKED, 0).license_due
    assert load_invoice(invoice.id).exception == "marked"


def test_underpayment_that_comes_after_expiry_is_reviewed(invoice, check_as):
    check_as("expired")
    check_as("expired", PARTIAL, 400)
    row = load_invoice(invoice.id)
    assert (row.status, row.review_reason, row.paid_amount) == ("expired", "underpaid", 400)


def test_invoice_in_another_currency_keeps_our_paid_amount_empty(fake, invoice):
    before = fake.snapshots[invoice.provider_invoice_id]
    foreign = replace(before.charged, currency="EUR")
    fake.snapshots[invoice.provider_invoice_id] = replace(
        before, status=ProviderStatus.SETTLED, charged=foreign, paid=foreign
    )
    check_invoice(invoice.id)
    row = load_invoice(invoice.id)
    assert (row.status, row.review_reason, row.paid_amount) == ("pending", "currency", None)


@pytest.mark.parametrize("status", ["pending", "processing", "expired"])
def test_settled_but_open_at_provider(licensed_invoice, check_as, status):
    """The invoice stays settled, and an alarm is raised."""
    alarm = check_as(status).outcome.alarm
    row = load_invoice(licensed_invoice.id)
    assert row.status == "settled"
    assert row.last_error == alarm == f"the invoice is settled here, but {status}/none at the provider"
    assert load_licenses(licensed_invoice.id)[0].status == "active"


def test_alarm_ends_when_the_provider_agrees_again(licensed_invoice, check_as):
    check_as("pending")
    check_as("settled", paid=PRICE)
    assert load_invoice(licensed_invoice.id).last_error is None


def test_unknown_status_is_reported_and_changes_nothing(invoice, check_as):
    result = check_as("unknown")
    row = load_invoice(invoice.id)
    assert (result.outcome.action, row.status) == (Action.KEEP, "pending")
    assert "not known to this version" in row.last_error
    assert audit_actions(invoice.id) == [OPENED]


# Nothing new, nothing written


@pytest.mark.parametrize(
    ("answer", "exception", "paid"),
    [
        ("pending", PaymentException.NONE, 0),
        ("processing", PaymentException.NONE, PRICE),
        ("settled", PaymentException.NONE, PRICE),
        ("settled", PaymentException.NONE, PRICE - 1),
        ("expired", PaymentException.NONE, 0),
        ("expired", PARTIAL, 400),
        ("invalid", PaymentException.NONE, 0),
        ("refunded", PaymentException.NONE, 0),
        ("unknown", PaymentException.NONE, 0),
    ],
)
def test_check_without_news_writes_nothing(invoice, check_as, answer, exception, paid):
    check_as(answer, exception, paid)
    before = versions(invoice)
    for _ in range(3):
        check_as(answer, exception, paid)
    assert versions(invoice) == before


def test_end_of_the_time_to_pay_is_stored_at_creation_and_follows_the_provider(fake, invoice, check_as):
    snapshot = fake.snapshots[invoice.provider_invoice_id]
    assert invoice.expires_at == snapshot.expires_at
    check_as("pending")
    later = snapshot.expires_at + timedelta(minutes=5)
    fake.snapshots[invoice.provider_invoice_id] = replace(snapshot, expires_at=later)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).expires_at == later
    fake.snapshots[invoice.provider_invoice_id] = replace(snapshot, expires_at=None)
    before = versions(invoice)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).expires_at == later
    assert versions(invoice) == before


def test_alarm_is_written_once(licensed_invoice, check_as):
    check_as("pending")
    before = versions(licensed_invoice)
    check_as("pending")
    assert versions(licensed_invoice) == before


def test_settled_license_still_due(check_as):
    """The next check of a settled invoice without a license finds its license due."""
    check_as("settled", paid=PRICE)
    assert check_as("settled", paid=PRICE).license_due


def test_invoice_with_its_license_owes_nothing(licensed_invoice, check_as):
    assert not check_as("settled", paid=PRICE).license_due


# Others at work at the same time


def test_settled_during_check(fake, invoice, monkeypatch):
    """An invoice that another worker settles during the check is left alone."""

    def settle_meanwhile():
        with transaction() as session:
            settle_by_hand(session, invoice.id, "paid in cash", "cli")

    fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED)
    monkeypatch.setattr(fake, "snapshots", Reacting(fake.snapshots, settle_meanwhile))
    result = check_invoice(invoice.id)
    assert result.outcome.action is Action.EXPIRE
    assert not result.license_due
    assert load_invoice(invoice.id).status == "settled"
    assert audit_actions(invoice.id) == [OPENED, "invoice.settled"]


def test_fulfilled_during_check(fake, invoice, signer, monkeypatch):
    """An invoice that another worker fulfills during the check is not settled twice."""
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    ledger = dict(fake.snapshots)

    def settle_and_issue_meanwhile():
        monkeypatch.setattr(fake, "snapshots", ledger)
        check_invoice(invoice.id)
        issue_now(invoice.id, signer.key_id)

    monkeypatch.setattr(fake, "snapshots", Reacting(ledger, settle_and_issue_meanwhile))
    assert not check_invoice(invoice.id).license_due
    assert audit_actions(invoice.id) == [OPENED, "invoice.settled"]
    assert load_invoice(invoice.id).next_check_at is None
    assert len(load_licenses(invoice.id)) == 1


def checks_at_once(fake, invoice, monkeypatch, count=2):
    """Checks that all get their response before any of them decides. Returns their results."""
    together = threading.Barrier(count)
    monkeypatch.setattr(fake, "snapshots", Reacting(fake.snapshots, lambda: together.wait(30)))
    results = []
    threads = [threading.Thread(target=lambda: results.append(check_invoice(invoice.id))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_two_concurrent_checks_settle_once(fake, invoice, monkeypatch):
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    results = checks_at_once(fake, invoice, monkeypatch)
    assert sorted(result.license_due for result in results) == [False, True]
    assert load_invoice(invoice.id).next_check_at > invoice.created_at + timedelta(seconds=25)  # its message is live
    assert audit_actions(invoice.id) == [OPENED, "invoice.settled"]


def test_two_concurrent_checks_raise_one_review(fake, invoice, monkeypatch):
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=1)
    checks_at_once(fake, invoice, monkeypatch)
    assert audit_actions(invoice.id) == [OPENED, "invoice.review_needed"]


def test_no_transaction_is_open_while_the_provider_is_asked(fake, invoice, monkeypatch):
    seen = []

    def notice():
        with reading() as session:
            statement = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
            seen.append(session.scalar(text(statement)))

    monkeypatch.setattr(fake, "snapshots", Reacting(fake.snapshots, notice))
    check_invoice(invoice.id)
    assert seen == [0]


# Implausible responses, and no responses


def test_unknown_invoice_is_refused():
    with pytest.raises(NotFound, match="no invoice"):
        check_invoice(uuid4())


@pytest.mark.parametrize("order_id", ["", "another", "00000000-0000-0000-0000-000000000000"])
def test_answer_about_another_order_is_refused(fake, invoice, order_id):
    snapshot = replace(fake.snapshots[invoice.provider_invoice_id], order_id=order_id, status=ProviderStatus.SETTLED)
    fake.snapshots[invoice.provider_invoice_id] = snapshot
    with pytest.raises(RemoteResponseInvalid, match="belongs to order"):
        check_invoice(invoice.id)
    assert load_invoice(invoice.id).status == "pending"
    assert load_account().failure_count == 0


def test_answer_without_an_order_is_believed(fake, invoice, check_as):
    fake.snapshots[invoice.provider_invoice_id] = replace(fake.snapshots[invoice.provider_invoice_id], order_id=None)
    assert check_as("settled", paid=PRICE).license_due


@pytest.mark.parametrize(
    "trouble",
    [RemoteUnavailable("it is down"), RemoteResponseInvalid("it sent HTML"), RemoteRefused("it refused"), None],
)
def test_no_usable_answer_leaves_the_invoice_as_it_was(fake, invoice, trouble):
    if trouble is None:
        set_account(sealed_credentials=b"of another key")
    fake.trouble = trouble
    before = load_invoice(invoice.id).__dict__.copy()
    with pytest.raises(AccountUnusable if trouble is None else type(trouble)):
        check_invoice(invoice.id)
    after = load_invoice(invoice.id).__dict__.copy()
    assert before.pop("_sa_instance_state") is not after.pop("_sa_instance_state")
    assert after == before
    account = load_account()
    of_all = trouble is None or isinstance(trouble, RemoteUnavailable)
    assert (account.failure_count, account.last_error is not None) == ((1, True) if of_all else (0, False))


def test_invoice_the_provider_does_not_know_leaves_its_account_alone(fake, invoice):
    fake.snapshots.clear()
    before = versions(invoice)
    with pytest.raises(RemoteNotFound):
        check_invoice(invoice.id)
    assert versions(invoice) == before
    assert load_account().failure_count == 0


def test_invoice_the_provider_does_not_know_closes_a_half_open_breaker(fake, invoice):
    """It would be the probe again and again, and keep all others waiting."""
    set_account(failure_count=FAILURES_TO_OPEN, open_until=func.now() - timedelta(seconds=1))
    fake.snapshots.clear()
    with pytest.raises(RemoteNotFound):
        check_invoice(invoice.id)
    assert load_account().failure_count == 0


def test_rejected_credentials_pause_the_account_with_one_audit_line(fake, invoice):
    fake.trouble = CredentialsRejected("the fake provider rejected our credentials (401).")
    with pytest.raises(CredentialsRejected):
        check_invoice(invoice.id)
    account = load_account()
    assert account.paused_at is not None
    assert account.pause_reason == "the fake provider rejected our credentials (401)"
    assert audit_actions(account.id) == ["provider.added", "provider.sells", "provider.paused"]
    assert account_names_callable() == 0
    assert load_invoice(invoice.id).status == "pending"


def test_paused_account_is_not_asked(fake, invoice):
    set_account(paused_at=func.now(), pause_reason="by hand")
    asked = fake.requests
    with pytest.raises(AccountNotCallable, match=r"main is paused \(by hand\); the invoice waits") as refusal:
        check_invoice(invoice.id)
    assert (refusal.value.hint, refusal.value.facts) == (Hint.RESUME_ACCOUNT, {"account": "main"})
    assert fake.requests == asked


# The circuit breaker


def fail(invoice, times=1):
    """Let reads fail, as if each were of another invoice than the one before."""
    for _ in range(times):
        set_account(failed_invoice_id=None)
        with pytest.raises(RemoteUnavailable):
            check_invoice(invoice.id)


def test_failures_of_one_invoice_alone_leave_the_breaker_closed(fake, invoice):
    fake.trouble = RemoteUnavailable("it is down for this one")
    for _ in range(FAILURES_TO_OPEN + 1):
        with pytest.raises(RemoteUnavailable):
            check_invoice(invoice.id)
    assert account_names_callable() == 1


@pytest.mark.parametrize(
    "trouble", [RemoteResponseInvalid("garbage"), RemoteRefused("no (422)"), RemoteNotFound("nothing (404)")]
)
def test_answers_about_one_invoice_never_open_the_breaker(fake, invoice, trouble):
    fake.trouble = trouble
    for _ in range(FAILURES_TO_OPEN + 1):
        set_account(failed_invoice_id=None)
        with pytest.raises(type(trouble)):
            check_invoice(invoice.id)
    assert (account_names_callable(), load_account().failure_count) == (1, 0)


def test_one_rejection_of_a_key_that_is_good_pauses_nothing(fake, invoice):
    fake.rejected_invoices = {invoice.provider_invoice_id}
    with pytest.raises(CredentialsRejected):
        check_invoice(invoice.id)
    assert load_account().paused_at is None


def test_account_of_rejected_credentials_resumes_once_they_pass(fake, invoice):
    fake.trouble = CredentialsRejected("rejected (401)")
    with pytest.raises(CredentialsRejected):
        check_invoice(invoice.id)
    account = load_account()
    assert account.recheck_at is not None
    with pytest.raises(CredentialsRejected):
        recheck_account(str(account.id))
    assert load_account().paused_at is not None
    fake.trouble = None
    recheck_account(str(account.id))
    assert load_account().paused_at is None
    assert audit_actions(account.id)[-2:] == ["provider.credentials_accepted", "provider.resumed"]


def test_account_that_a_person_paused_never_resumes_by_itself(fake, invoice):
    account = load_account()
    with transaction() as session:
        manage.pause(session, account.id, "holidays", "cli")
    recheck_account(str(account.id))
    assert load_account().paused_at is not None


def test_rechecks_are_claimed_less_and_less_often(fake, invoice):
    fake.trouble = CredentialsRejected("rejected (401)")
    with pytest.raises(CredentialsRejected):
        check_invoice(invoice.id)
    set_account(recheck_at=func.now())
    with transaction() as session:
        [claim] = claim_rechecks(session, 10)
    assert claim.seconds == pytest.approx(60, abs=1)
    set_account(recheck_at=func.now(), recheck_count=20)
    with transaction() as session:
        [claim] = claim_rechecks(session, 10)
    assert claim.seconds == pytest.approx(3_600, abs=1)


def test_failures_open_the_breaker_and_stop_checks(fake, invoice):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN - 1)
    assert account_names_callable() == 1
    assert load_account().open_until is None
    fail(invoice)
    assert account_names_callable() == 0
    asked = fake.requests
    with pytest.raises(AccountNotCallable, match="left alone until"):
        check_invoice(invoice.id)
    assert fake.requests == asked


def test_open_breaker_lasts_for_its_cool_down(fake, invoice):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN)
    with reading() as session:
        left = load_account().open_until - session.scalar(select(func.now()))
    assert COOL_DOWN - timedelta(seconds=20) < left <= COOL_DOWN


def test_one_success_closes_the_breaker(fake, invoice, check_as):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN - 1)
    fake.trouble = None
    check_as("pending")
    account = load_account()
    assert (account.failure_count, account.open_until, account.last_error) == (0, None, None)


@pytest.mark.parametrize(("wish", "rest"), [(30.0, 30), (90.0, 60), (7_200.0, 60), (1e300, 60)])
def test_retry_after_opens_the_breaker_at_once_for_a_minute_at_most(fake, invoice, wish, rest):
    fake.trouble = RemoteUnavailable("it is busy", retry_after=wish)
    fail(invoice)
    assert account_names_callable() == 0
    with reading() as session:
        left = load_account().open_until - session.scalar(select(func.now()))
    assert timedelta(seconds=rest - 20) < left <= timedelta(seconds=rest)


def test_failures_never_shorten_what_the_provider_wished(fake, invoice):
    """Running checks fail one after the other, after the first got a Retry-After."""
    fake.trouble = RemoteUnavailable("it is busy", retry_after=3_600)
    fail(invoice)
    wished = load_account().open_until
    with transaction() as session:
        for _ in range(FAILURES_TO_OPEN):
            record_failure(session, invoice.provider_account_id, "it is down", None)
    assert load_account().open_until >= wished


def test_half_open_breaker_passes_one_check(fake, invoice):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN)
    set_account(open_until=func.now() - timedelta(seconds=1))
    with reading() as session:
        [account] = callable_accounts(session)
    assert account.probe


def test_probe_that_fails_opens_the_breaker_again(fake, invoice):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN)
    set_account(open_until=func.now() - timedelta(seconds=1))
    fail(invoice)
    assert account_names_callable() == 0


def test_probe_that_succeeds_closes_the_breaker(fake, invoice, check_as):
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN)
    set_account(open_until=func.now() - timedelta(seconds=1))
    fake.trouble = None
    check_as("pending")
    with reading() as session:
        [account] = callable_accounts(session)
    assert not account.probe


def test_one_accounts_failures_do_not_stop_another(fake, invoice):
    make_account("other", store_id="other-store")
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice, FAILURES_TO_OPEN)
    with reading() as session:
        [account] = callable_accounts(session)
    assert account.account_id == load_account("other").id


# Giving up for now


def test_giving_up_on_an_old_invoice_checks_again_soon(invoice):
    set_columns(invoice.id, next_check_at=func.now() + timedelta(hours=6))
    give_up_on(invoice, RemoteUnavailable("it is down"))
    assert timedelta(seconds=10) < wait_of(invoice) <= timedelta(seconds=30)
    row = load_invoice(invoice.id)
    assert (row.last_error, row.error_count) == ("it is down", 1)


def test_each_failure_doubles_the_wait_until_the_schedule_is_sooner(invoice):
    waits = []
    for _ in range(12):
        set_columns(invoice.id, next_check_at=func.now() + timedelta(hours=6))
        give_up_on(invoice, RemoteUnavailable("it is down"))
        waits.append(round(wait_of(invoice).total_seconds(), -1))
    assert waits == [30, 60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 15_360, 15_360]


def test_giving_up_never_delays_a_young_invoice(invoice):
    set_columns(invoice.id, error_count=9)
    before = load_invoice(invoice.id).next_check_at
    give_up_on(invoice, RemoteUnavailable("it is down"))
    assert load_invoice(invoice.id).next_check_at == before


def test_failed_final_check_is_repeated(invoice):
    set_columns(invoice.id, next_check_at=None)
    give_up_on(invoice, RemoteUnavailable("it is down"))
    assert wait_of(invoice) <= timedelta(seconds=30)


def test_next_check_waits_for_the_account(invoice):
    set_columns(invoice.id, next_check_at=func.now() + timedelta(hours=6))
    set_account(open_until=func.now() + timedelta(minutes=10), failure_count=5)
    give_up_on(invoice, AccountNotCallable("main", "is left alone"))
    assert load_invoice(invoice.id).next_check_at == load_account().open_until
    assert load_invoice(invoice.id).error_count == 0


def test_usable_answer_forgets_the_failures(invoice, check_as):
    give_up_on(invoice, RemoteUnavailable("it is down"))
    check_as("pending")
    row = load_invoice(invoice.id)
    assert (row.last_error, row.error_count) == (None, 0)


def test_giving_up_on_a_settled_invoice_leaves_its_license_due(invoice, check_as):
    check_as("settled", paid=PRICE)
    before = load_invoice(invoice.id)
    give_up_on(invoice, RemoteUnavailable("it is down"))
    after = load_invoice(invoice.id)
    assert (after.next_check_at, after.last_error, after.error_count) == (before.next_check_at, None, 0)


def test_each_status_change_is_recorded_once(fake, invoice, check_as):
    for provider_status in ("pending", "pending", "processing", "pending", "pending"):
        check_as(provider_status)
        set_columns(invoice.id, check_count=Invoice.check_count + 1)
    give_up_on(invoice, RemoteUnavailable("it is down"))
    with reading() as session:
        heard = [moment for moment in timeline(session, load_invoice(invoice.id)) if moment.action == "invoice.looked"]
    assert [(moment.detail["provider_status"], moment.detail["checks"]) for moment in heard] == [
        ("pending/none", 2),
        ("processing/none", 1),
        ("pending/none", 2),
        ("it is down", 1),
    ]
    before = versions(invoice)
    give_up_on(invoice, RemoteUnavailable("it is down"))
    check_as("pending")
    settled = versions(invoice)
    check_as("pending")
    assert before != settled == versions(invoice)


def test_dismissed_review_stays_dismissed(invoice, check_as):
    check_as("settled", paid=1)
    with transaction() as session:
        dismiss(session, invoice.id, "sent back", "cli")
    before = versions(invoice)
    check_as("settled", paid=1)
    assert versions(invoice) == before


def test_reasons_that_alternate_are_each_reviewed_once(fake, invoice):
    set_columns(invoice.id, status="expired")
    for _ in range(3):
        fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, paid=1_000)
        check_invoice(invoice.id)
        fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
        check_invoice(invoice.id)
    assert audit_actions(invoice.id).count("invoice.review_needed") == 2


def test_more_money_is_noted_while_the_review_stays_the_same(fake, invoice):
    for paid in (1_000, 2_000):
        fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, paid=paid)
        check_invoice(invoice.id)
        assert load_invoice(invoice.id).paid_amount == paid
    assert load_invoice(invoice.id).review_reason == "underpaid"


def test_final_check_of_an_old_invoice_is_the_last(fake, invoice):
    yesterday = func.now() - timedelta(days=1, minutes=1)
    set_columns(invoice.id, created_at=func.now() - timedelta(days=31), final_check_at=yesterday)
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).next_check_at is None
    before = versions(invoice)
    check_invoice(invoice.id)
    assert versions(invoice) == before


def test_failed_final_check_stays_due(fake, invoice):
    set_columns(invoice.id, created_at=func.now() - timedelta(days=31))
    fake.trouble = RemoteUnavailable("it is down")
    fail(invoice)
    assert load_invoice(invoice.id).next_check_at is not None


def test_person_who_settled_by_hand_is_not_overruled(fake, invoice, signer):
    fake.say(invoice.provider_invoice_id, ProviderStatus.INVALID)
    check_invoice(invoice.id)
    with transaction() as session:
        settle_by_hand(session, invoice.id, "paid in cash", "cli")
    result = check_invoice(invoice.id)
    assert result.outcome.action is Action.KEEP
    assert "invalid" in result.outcome.alarm
    assert issue_now(invoice.id, signer.key_id)


def test_settlement_during_expiry(fake, invoice, monkeypatch):
    """A settlement that races with the expiry is checked again at once."""
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    monkeypatch.setattr(fake, "snapshots", Reacting(fake.snapshots, lambda: set_columns(invoice.id, status="expired")))
    assert not check_invoice(invoice.id).license_due
    after = load_invoice(invoice.id)
    assert after.status == "expired"
    assert after.next_check_at < invoice.next_check_at


def test_credentials_renewed_during_check(fake, invoice):
    """A rejection of the former credentials doesn't pause the account."""
    with transaction() as session:
        pause_rejected(session, invoice.provider_account_id, b"the old ones", "rejected", "reconcile")
    assert load_account().paused_at is None
