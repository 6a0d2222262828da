"""Claiming: due rows are claimed once, pushed forward in the same statement, and released if no message was sent."""

import threading
from datetime import timedelta
from queue import Queue

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session

from keysat.core.db import engine, reading, transaction
from keysat.invoices.due import CHECK_AGAIN, claim_again, claim_due, claim_unfulfilled, release_invoices
from keysat.models import Invoice
from tests.builders import (
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_account,
    make_due,
    make_invoice,
    set_columns,
)

PATIENCE = 180

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def due_invoices(count, **facts):
    """Invoices that are due, the first for the longest time."""
    invoices = [make_invoice(**facts) for _ in range(count)]
    for ago, invoice in enumerate(reversed(invoices), start=1):
        make_due(invoice.id, timedelta(minutes=ago))
    return [invoice.id for invoice in invoices]


def settled(count):
    return due_invoices(count, status="settled", settled_at=func.now())


def claim(limit=100, account="main"):
    """Claim and commit. Returns the claimed ids."""
    account_id = load_account(account).id
    with transaction() as session:
        return [claimed.row_id for claimed in claim_due(session, limit, account_id)]


def claim_owed(limit=100):
    with transaction() as session:
        return [claimed.row_id for claimed in claim_unfulfilled(session, limit)]


def now():
    with reading() as session:
        return session.scalar(select(func.now()))


def test_nothing_due_nothing_claimed():
    make_invoice()
    make_invoice(next_check_at=None)
    assert claim() == []
    assert claim_owed() == []


def test_due_invoice_is_claimed_and_pushed_forward_by_its_schedule():
    [invoice_id] = due_invoices(1)
    before = now()
    assert claim() == [invoice_id]
    after = load_invoice(invoice_id)
    assert timedelta(seconds=27) <= after.next_check_at - before <= timedelta(seconds=40)
    assert after.check_count == 1
    assert after.last_checked_at >= before


def test_claim_says_how_long_it_holds_by_the_databases_clock():
    due_invoices(1)
    with transaction() as session:
        [claimed] = claim_due(session, 1, load_account().id)
        now = session.scalar(select(func.now()))
    due_again_at = load_invoice(claimed.row_id).next_check_at
    assert abs((due_again_at - now).total_seconds() - claimed.seconds) < 0.001


def test_claimed_invoice_is_not_due_again_at_once():
    due_invoices(3)
    assert len(claim()) == 3
    assert claim() == []


def test_invoice_is_due_exactly_when_its_time_has_come():
    early, late = make_invoice(), make_invoice()
    set_columns(early.id, next_check_at=func.now() + timedelta(hours=1))
    set_columns(late.id, next_check_at=func.now())
    assert claim() == [late.id]


def test_limit_takes_the_longest_due_first():
    wanted = due_invoices(5)
    account_id = load_account().id
    parts = []
    for _ in range(3):
        with transaction() as session:
            session.execute(text("SET LOCAL enable_indexscan = off"))  # no order comes from the index by itself
            session.execute(text("SET LOCAL enable_bitmapscan = off"))
            parts.append({claimed.row_id for claimed in claim_due(session, 2, account_id)})
    assert parts == [set(wanted[:2]), set(wanted[2:4]), set(wanted[4:])]


def test_old_invoice_is_due_until_its_final_check():
    """The message of its final check may be lost like any other."""
    [invoice_id] = due_invoices(1, created_at=func.now() - timedelta(days=31))
    with transaction() as session:
        [claimed] = claim_due(session, 1, load_account().id)
    assert timedelta(minutes=54).total_seconds() <= claimed.seconds <= timedelta(minutes=60).total_seconds()
    assert load_invoice(invoice_id).next_check_at is not None


def test_accounts_are_claimed_apart():
    ours = due_invoices(2)
    make_account(name="other")
    theirs = due_invoices(2, account="other")
    assert set(claim(account="other")) == set(theirs)
    assert set(claim()) == set(ours)


def test_settled_invoices_are_claimed_for_their_license_only():
    open_ids, settled_ids = due_invoices(2), settled(2)
    assert set(claim_owed()) == set(settled_ids)
    assert set(claim()) == set(open_ids)


def test_settled_invoice_is_due_again_in_half_a_minute_however_old(signer):
    [invoice_id] = settled(1)
    set_columns(invoice_id, created_at=func.now() - timedelta(days=400))
    before = now()
    assert claim_owed() == [invoice_id]
    wait = load_invoice(invoice_id).next_check_at - before
    assert timedelta(seconds=27) <= wait <= timedelta(seconds=40)


def test_invoice_with_its_license_is_never_claimed_again(signer):
    [invoice_id] = settled(1)
    issue_now(invoice_id, signer.key_id)
    assert claim_owed() == []


@pytest.mark.parametrize("status", ["expired", "invalid"])
def test_closed_invoices_are_still_watched(status):
    wanted = due_invoices(1, status=status)
    assert claim() == wanted


def test_claim_that_is_rolled_back_is_due_again():
    wanted = due_invoices(2)
    with transaction() as session:
        assert len(claim_due(session, 10, load_account().id)) == 2
        session.rollback()
    assert set(claim()) == set(wanted)


def test_two_open_claims_share_no_invoice_and_wait_for_nothing():
    wanted = due_invoices(6)
    account_id = load_account().id
    with Session(engine()) as first, Session(engine()) as second, Session(engine()) as third:
        third.execute(text("SET LOCAL lock_timeout = '1ms'"))  # a wait for the others' locks would fail
        taken = [
            {claimed.row_id for claimed in claim_due(session, limit, account_id)}
            for session, limit in ((first, 2), (second, 3), (third, 10))
        ]
        for session in (third, second, first):
            session.commit()
    assert [len(part) for part in taken] == [2, 3, 1]
    assert set.union(*taken) == set(wanted)
    assert taken[0] == set(wanted[:2])


def test_scans_racing_in_threads_take_each_invoice_once():
    wanted = due_invoices(60)
    account_id, racers = load_account().id, 8
    start, taken = threading.Barrier(racers), Queue()

    def race():
        start.wait(PATIENCE)
        while True:
            with transaction() as session:
                part = claim_due(session, 5, account_id)
            if not part:
                return
            for claimed in part:
                taken.put(claimed.row_id)

    threads = [threading.Thread(target=race) for _ in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(taken.queue) == sorted(wanted)
    assert {load_invoice(invoice_id).check_count for invoice_id in wanted} == {1}


def test_released_invoice_is_due_at_once():
    wanted = due_invoices(2)
    kept, given_back = claim()
    with transaction() as session:
        release_invoices(session, [given_back])
    assert claim() == [given_back]
    assert {kept, given_back} == set(wanted)


def test_release_does_not_wake_an_invoice_that_is_done(signer):
    fulfilled, reversed_one = settled(2)
    issue_now(fulfilled, signer.key_id)
    set_columns(reversed_one, reversed_at=func.now(), next_check_at=None)
    with transaction() as session:
        release_invoices(session, [fulfilled, reversed_one])
    assert claim_owed() == []
    assert len(load_licenses()) == 1


@pytest.fixture
def many_invoices(empty_database, fake):
    """20,000 invoices, a hundred due for a check and a hundred for a license, among finished ones."""
    template = make_invoice().id
    columns = [column.name for column in Invoice.__table__.columns]
    changed = {
        "id": "gen_random_uuid()",
        "provider_invoice_id": "'many-' || n",
        "status": "CASE WHEN n % 2 = 0 THEN 'settled' ELSE 'pending' END",
        "settled_at": "CASE WHEN n % 2 = 0 THEN now() END",
        "next_check_at": "CASE WHEN n <= 200 THEN now() - n * interval '1 s' WHEN n % 2 = 1 THEN now() + '1 day' END",
    }
    values = ", ".join(changed.get(name, name) for name in columns)
    with transaction() as session:
        session.execute(
            text(
                f"INSERT INTO invoices ({', '.join(columns)}) "
                f"SELECT {values} FROM invoices, generate_series(1, 20000) AS n WHERE invoices.id = :template"
            ),
            {"template": template},
        )
    with reading() as session:
        session.execute(text("ANALYZE invoices"))


def plan_of(claim):
    """The plans of the statements that a claim runs, as PostgreSQL explains them."""
    statements = []

    def remember(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    event.listen(engine(), "before_cursor_execute", remember)
    try:
        with transaction() as session:
            claim(session)
            session.rollback()
    finally:
        event.remove(engine(), "before_cursor_execute", remember)
    assert statements
    with engine().connect() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN {text}", parameters) for text, parameters in statements]
        return "\n".join(row[0] for plan in plans for row in plan)


@pytest.mark.usefixtures("many_invoices")
def test_claim_reads_the_index_of_what_is_due_and_not_the_table():
    account_id = load_account().id
    plan = plan_of(lambda session: claim_due(session, 500, account_id))
    assert "ix_invoices_due" in plan
    assert "Seq Scan" not in plan


@pytest.mark.usefixtures("many_invoices")
def test_claim_of_due_licenses_reads_only_its_index():
    plan = plan_of(lambda session: claim_unfulfilled(session, 500))
    assert "ix_invoices_unfulfilled" in plan
    assert "Seq Scan" not in plan


@pytest.mark.usefixtures("many_invoices")
def test_among_many_only_what_is_due_is_claimed():
    with transaction() as session:
        assert len(claim_due(session, 1_000, load_account().id)) == 100
        assert len(claim_unfulfilled(session, 1_000)) == 100


@pytest.mark.parametrize("due_in", [timedelta(minutes=1), timedelta(seconds=2), timedelta(seconds=-30)])
def test_check_for_a_buyer_postpones_nothing(due_in):
    """Its message may be lost, so the check that was due anyway comes no later than the message would expire."""
    invoice = make_invoice(status="expired", created_at=func.now() - timedelta(hours=3))
    set_columns(invoice.id, next_check_at=func.now() + due_in, last_checked_at=func.now() - timedelta(minutes=5))
    with transaction() as session:
        now = session.scalar(select(func.now()))
        assert claim_again(session, invoice.id) is not None
    assert now < load_invoice(invoice.id).next_check_at <= now + CHECK_AGAIN
