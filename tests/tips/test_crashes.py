"""Crashes, timeouts and vague responses never make a tip paid twice, above a cap, or with another amount."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

import pytest
from sqlalchemy import func, select

from keysat.core.db import Database, reading, transaction
from keysat.core.settings import load_settings
from keysat.models import Tip
from keysat.providers import registry
from keysat.providers.btcpay.adapter import BTCPay
from keysat.tips import bolt11, due
from keysat.tips import pay as paying
from keysat.tips.pay import Payer, pay
from tests.builders import PRICE, STORE
from tests.tips.conftest import make_due

SEED, TIPS, THREADS, ROUNDS, MISHAPS = 20_261_125, 60, 4, 12, 150
LONG = 300  # seconds, in which a busy machine gets to the second round
CAP_SATS, BUDGET_SATS = 1_500, 50_000
NODE = ["paid", "unclear-paid", "unclear-failed", "failed", "500-paid", "500-unheard"]
INVOICES = ["good"] * 12 + ["amount", "network", "description", "expired", "none", "refusal", "reused"]


class Died(BaseException):
    """The process ends here. No code catches it."""


class Mishaps:
    """Lets the process die before and after each commit and each call, by chance."""

    def __init__(self):
        self.counts, self._lock, self._random = Counter(), Lock(), random.Random(SEED)

    def maybe(self, where):
        with self._lock:
            dies = self._random.random() < 0.06
            self.counts[where] += dies
        if dies:
            raise Died(where)

    @contextmanager
    def begin(self):
        self.maybe("before a transaction")
        with transaction() as session:
            yield session
            self.maybe("before a commit")
        self.maybe("after a commit")

    def around(self, what, call):
        def wrapped(*arguments, **named):
            self.maybe(f"before {what}")
            answer = call(*arguments, **named)
            self.maybe(f"after {what}")
            return answer

        return wrapped


@pytest.fixture
def mishaps(local_tips):
    """Deaths at every boundary, a provider that is waited for half a second, and invoices that are over at once."""
    found = Mishaps()
    for name, value in (("TIP_MAX_SATS", CAP_SATS), ("TIP_DAILY_SATS", BUDGET_SATS)):
        local_tips.setenv(f"KEYSAT_{name}", str(value))
    load_settings.cache_clear()
    local_tips.setattr(due, "TO_SPARE", timedelta(0))
    local_tips.setattr(bolt11, "_MIN_LIFE", timedelta(0))
    for name in ("pay_lightning_invoice", "find_lightning_payment"):
        local_tips.setattr(BTCPay, name, found.around(name, getattr(BTCPay, name)))
    local_tips.setattr(paying, "ask_for_invoice", found.around("the invoice", paying.ask_for_invoice))
    return found


def unfinished():
    with reading() as session:
        return session.scalars(select(Tip.id).where(Tip.next_attempt_at.is_not(None))).all()


def held_back():
    with reading() as session:
        return session.scalars(select(Tip.id).where(Tip.last_error.like("%leave no room for it%"))).all()


def test_tips_paid_once_within_limits(sandbox, mishaps, tipped, local_tips):
    """No crash leads to a second payment, a payment over the cap, or a wrong amount."""
    for number in range(TIPS):
        tipped(amount=PRICE + 200 * (number % 60), base_amount=PRICE + 200 * (number % 60))
    sandbox.set_lightning(NODE, INVOICES, seed=SEED, life=LONG)  # what the node never heard of is sent again
    local_tips.setenv("KEYSAT_PROVIDER_TIMEOUT", "0.5")
    load_settings.cache_clear()
    local_tips.setattr(registry, "_adapters", {})
    node = {"path_prefix": f"/api/v1/stores/{STORE}/lightning"}
    slow = {"kind": "latency", "seconds": 1, "probability": 0.05, **node}
    sandbox.set_faults([slow, {"kind": "cut", "probability": 0.1, **node}], seed=SEED)
    payer, rounds, held = Payer.of(load_settings()), 0, set()

    def step(tip_id):
        try:
            pay(Database(reading, mishaps.begin), payer, tip_id, actor="tips")
        except Died:
            return

    while owed := [tip for tip in unfinished() for _ in range(THREADS)]:  # each by all workers at once
        make_due()
        with ThreadPoolExecutor(THREADS) as workers:
            list(workers.map(step, owed))
        held.update(held_back())
        rounds += 1
        if rounds == 1:
            sandbox.set_lightning(NODE, INVOICES, seed=SEED, life=2)
        if rounds > ROUNDS:  # the rest exceed the day's budget, or wait for the end of a long invoice
            break
    assert held, "the day's budget was never in the way"
    check(sandbox.lightning_payments(), mishaps.counts)


def check(payments, deaths):
    """The node's record against what Keysat thinks."""
    with reading() as session:
        tips = {tip.payment_hash: tip for tip in session.scalars(select(Tip)) if tip.payment_hash}
        sent = [tip for tip in tips.values() if tip.status == "sent"]
        too_much = Tip.amount_msat > CAP_SATS * 1_000
        over, failed_over = (
            session.scalar(select(func.count()).where(too_much, *which)) for which in ([], [Tip.status == "failed"])
        )
    paid = [payment for payment in payments if payment["paid"]]
    # The same invoice may be sent again, which a node pays once. No tip has a second paid one.
    assert all(payment["paid"] == 1 for payment in paid)
    assert {payment["payment_hash"] for payment in paid} >= {tip.payment_hash for tip in sent}
    assert all(tips[payment["payment_hash"]].status in {"sent", "paying"} for payment in paid)
    assert any(tip.resent for tip in tips.values()), "no invoice was sent again"
    assert all(tips[payment["payment_hash"]].amount_msat == payment["amount_msat"] for payment in paid)
    assert all(payment["amount_msat"] <= CAP_SATS * 1_000 for payment in payments)
    assert sum(payment["amount_msat"] for payment in paid) <= BUDGET_SATS * 1_000
    assert over == failed_over > 0
    assert sum(deaths.values()) >= MISHAPS
