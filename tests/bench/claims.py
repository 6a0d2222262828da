"""A claim costs what is due, not what is stored."""

import statistics
import time

from sqlalchemy import text

from keysat.db import reading, transaction
from keysat.invoices.due import claim_due
from tests.bench.bar import Bar
from tests.builders import load_account, make_account, make_catalog

DUE, SMALL, LARGE, ROUNDS = 1_000, 10_000, 1_000_000, 15

_FILL = """
INSERT INTO invoices (id, provider_account_id, provider_invoice_id, product_id, policy_id, status, settled_at,
                      fulfilled_at, base_amount, amount, currency, checkout_url, created_at, next_check_at)
SELECT gen_random_uuid(), (SELECT id FROM provider_accounts), 'stored-' || n, (SELECT id FROM products),
       (SELECT id FROM policies), kind, CASE WHEN kind = 'settled' THEN now() END,
       CASE WHEN kind = 'settled' THEN now() END, 21000, 21000, 'BTC', 'https://pay.example/' || n,
       now() - interval '1 day', CASE WHEN kind = 'settled' THEN NULL ELSE now() + interval '1 hour' END
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n,
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


class _RollBack(Exception):
    pass


def claim_cost_ratio() -> Bar:
    """The cost of claiming 1,000 due invoices among 1,000,000 stored, to the same among 10,000."""
    make_account()
    make_catalog()
    _fill(1, SMALL)
    small = _milliseconds()
    _fill(SMALL + 1, LARGE)
    large = _milliseconds()
    with transaction() as session:
        plan = "\n".join(session.scalars(text(_EXPLAIN), {"account": load_account().id}))
        session.execute(text("TRUNCATE invoices CASCADE"))
    with reading() as session:
        session.execute(text("CHECKPOINT"))  # what a million rows left to write must not slow the next measurement
    assert "ix_invoices_due" in plan, f"the claim doesn't use its partial index:\n{plan}"
    figures = f"{large:.1f} ms among {LARGE:,} stored, {small:.1f} ms in {SMALL:,}; {DUE:,} due; by ix_invoices_due"
    return Bar("claim among a million stored, to ten thousand", large / small, figures, at_most=1.5)


def _fill(first: int, last: int) -> None:
    print(f"storing invoices up to {last:,} ...", flush=True)
    with transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = '10min'"))
        session.execute(text(_FILL), {"first": first, "last": last})
        session.execute(text(_MAKE_DUE), {"step": last // DUE, "due": DUE})
    with reading() as session:
        session.execute(text("VACUUM ANALYZE invoices"))  # as autovacuum would have done by then


def _milliseconds() -> float:
    account_id, times = load_account().id, []
    for _ in range(ROUNDS):
        with transaction() as session:
            savepoint = session.begin_nested()
            began = time.perf_counter()
            claimed = len(claim_due(session, 500, account_id)) + len(claim_due(session, 500, account_id))
            times.append((time.perf_counter() - began) * 1000)
            assert claimed == DUE, claimed
            savepoint.rollback()
    return statistics.median(times[2:])
