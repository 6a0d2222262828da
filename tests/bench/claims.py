"""A claim costs what is due, not what is stored."""

import statistics
import time
from contextlib import contextmanager

from sqlalchemy import text

from keysat.core.db import reading, transaction
from keysat.invoices.due import claim_due
from tests.bench.bar import Bar
from tests.builders import load_account, make_account, make_catalog

DUE, SMALL, LARGE, ROUNDS = 1_000, 10_000, 1_000_000, 31

_FILL = """
INSERT INTO invoices (id, provider_account_id, provider_invoice_id, product_id, policy_id, status, settled_at,
                      fulfilled_at, base_amount, amount, currency, checkout_url, created_at, next_check_at)
SELECT uuidv7(), (SELECT id FROM provider_accounts), 'stored-' || n, (SELECT id FROM products),
       (SELECT id FROM policies), kind, CASE WHEN kind = 'settled' THEN now() END,
       CASE WHEN kind = 'settled' THEN now() END, 21000, 21000, 'BTC', 'https://pay.example/' || n,
       now() - interval '1 day', CASE WHEN kind = 'settled' THEN NULL ELSE now() + interval '1 hour' END
FROM generate_series(1, CAST(:stored AS int)) AS n,
     LATERAL (SELECT CASE WHEN n % 10 = 0 THEN 'expired' ELSE 'settled' END AS kind) AS kinds
"""
_MAKE_DUE = """
UPDATE invoices SET status = 'pending', settled_at = NULL, fulfilled_at = NULL, next_check_at = now() - interval '1 s'
WHERE provider_invoice_id IN (SELECT 'stored-' || (n * :step) FROM generate_series(1, CAST(:due AS int)) AS n)
"""
_EXPLAIN = """
EXPLAIN SELECT id FROM invoices WHERE provider_account_id = :account AND status <> 'settled'
AND next_check_at IS NOT NULL AND next_check_at <= now() ORDER BY next_check_at LIMIT 500 FOR UPDATE SKIP LOCKED
"""
_INDEX = "invoices_provider_account_id_next_check_at_idx"  # ix_invoices_due, as the copies of the table call it


def claim_cost_ratio() -> Bar:
    """The cost of claiming 1,000 due invoices among 1,000,000 stored, to the same among 10,000.

    The two are tables of their own, so that they are measured in turns and a slow spell of the machine meets both.
    """
    make_account()
    make_catalog()
    _fill("few", SMALL)
    _fill("many", LARGE)
    with reading() as session:
        session.execute(text("CHECKPOINT"))  # what a million rows left to write must not slow what is measured next
    small, large = zip(*((_milliseconds("few"), _milliseconds("many")) for _ in range(ROUNDS)), strict=True)
    with _among("many") as session:
        plan = "\n".join(session.scalars(text(_EXPLAIN), {"account": load_account().id}))
    assert _INDEX in plan, f"the claim doesn't use its partial index:\n{plan}"
    with transaction() as session:
        session.execute(text("DROP SCHEMA few, many CASCADE"))
    figures = (
        f"{statistics.median(large):.1f} ms among {LARGE:,} stored, {statistics.median(small):.1f} ms in {SMALL:,}; "
        f"{DUE:,} due; {ROUNDS} rounds; by ix_invoices_due"
    )
    ratio = statistics.median(many / few for few, many in zip(small, large, strict=True))
    return Bar("claim among a million stored, to ten thousand", ratio, figures, at_most=1.5)


@contextmanager
def _among(stored: str):
    """A transaction in which the table of invoices is the one of that schema."""
    with transaction() as session:
        session.execute(text(f"SET LOCAL search_path = {stored}, public"))
        yield session


def _fill(stored: str, count: int) -> None:
    print(f"storing {count:,} invoices ...", flush=True)
    with transaction() as session:
        session.execute(text(f"CREATE SCHEMA {stored}"))
        session.execute(text(f"CREATE TABLE {stored}.invoices (LIKE public.invoices INCLUDING ALL)"))
    with _among(stored) as session:
        session.execute(text("SET LOCAL statement_timeout = '10min'"))
        session.execute(text(_FILL), {"stored": count})
        session.execute(text(_MAKE_DUE), {"step": count // DUE, "due": DUE})
    with reading() as session:
        session.execute(text(f"VACUUM ANALYZE {stored}.invoices"))  # as autovacuum would have done by then


def _milliseconds(stored: str) -> float:
    account_id = load_account().id
    with _among(stored) as session:
        savepoint = session.begin_nested()
        began = time.perf_counter()
        claimed = len(claim_due(session, 500, account_id)) + len(claim_due(session, 500, account_id))
        took = (time.perf_counter() - began) * 1000
        assert claimed == DUE, claimed
        savepoint.rollback()
    return took
