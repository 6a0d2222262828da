"""Subscriptions over two years: buyers who pay early, late or never, webhooks that are lost, doubled and late, workers
that die, a provider that is down for days, and days on which we are down.

Run by itself in a process over a database of its own: `python -m tests.faults.months LICENSES MONTHS SEED`. It prints
what it found as JSON. The judge knows what each buyer paid and when anybody could pay. It reads the tables, and shares
no code with Keysat.
"""

import json
import random
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from keysat import migrations
from keysat.accounts.inbox import store
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import KeysatError, RemoteUnavailable
from keysat.core.logs import configure_logs
from keysat.core.settings import load_settings
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus, ReceivedEvent
from keysat.providers.fake import fake_server
from keysat.sales import outages
from keysat.sales.order import Order
from keysat.sales.purchase import purchase
from keysat.sales.renew import renew
from keysat.tasks import tasks
from keysat.tasks.support import signer_id
from tests.builders import FAKE_URL, PRICE, STORE, make_account, make_catalog
from tests.faults.interleavings import plugged_in
from tests.faults.simulated import SimulatedWorld

HOUR, DAY = 3_600, 86_400
STEP, PERIOD, GRACE = 6 * HOUR, 30 * DAY, 7 * DAY
QUIET_STEPS = 16
_SELL = text("""
    INSERT INTO licenses (id, product_id, policy_id, source, is_trial, is_recurring, max_machines, grace_seconds,
                          entitlements, issued_at, expires_at, signer)
    SELECT sold.id, p.product_id, p.id, 'manual', false, true, 1, :grace, '{}', now(),
           :now + make_interval(secs => sold.age), :signer
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ages AS int[])) AS sold (id, age), policies p
""")
_SUBSCRIBE = text("""
    INSERT INTO subscriptions (id, license_id, period_seconds, amount, currency, provider_account_id)
    SELECT gen_random_uuid(), l.id, :period, :price, 'BTC', a.id FROM licenses l, provider_accounts a
""")
_MOVED = {
    "invoices": ("next_check_at", "reversal_check_at", "created_at", "asked_at", "last_checked_at", "settled_at",
                 "paid_at", "payment_seen_at", "expires_at"),
    "provider_events": ("next_attempt_at", "looked_at", "received_at"),
    "provider_accounts": ("open_until", "create_open_until"),
    "licenses": ("expires_at",),
    "task_runs": ("last_run_at",),
}  # fmt: skip
_TICK = [
    text(f"UPDATE {table} SET {', '.join(f'{column} = {column} - :by' for column in columns)}")
    for table, columns in _MOVED.items()
]
_LICENSES = text("""
    SELECT id, extract(epoch FROM expires_at - now())::float AS left, grace_seconds + outage_seconds AS grace
    FROM licenses
""")
_EXTENSIONS = text("""
    SELECT i.provider_invoice_id AS theirs, e.taken_back_at IS NOT NULL AS taken_back, e.period_seconds AS period,
           extract(epoch FROM e.new_end - e.previous_end)::float AS added,
           extract(epoch FROM e.new_end - e.extended_at)::float AS ahead
    FROM license_extensions e JOIN invoices i ON i.id = e.invoice_id
""")
_LICENSES_OF_RENEWALS = text(
    "SELECT count(*) FROM licenses l JOIN invoices i ON i.id = l.invoice_id WHERE i.target_license_id IS NOT NULL"
)


@dataclass
class Buyer:
    """The holder of a license. `wants_at` is when it pays next. `payable` is how long it could since the end."""

    license_id: UUID
    wants_at: float
    left: float = 0.0
    grace: float = GRACE
    payable: float = 0.0
    turns: int = 0
    exempt: bool = False

    @property
    def valid(self) -> bool:
        """Whether the license is valid, as its row says."""
        return self.left + self.grace >= 0


@dataclass
class Payment:
    """What a buyer paid for, and whether the license was clearly valid or clearly lapsed then."""

    buyer: Buyer
    clear: bool | None
    settled: bool = True
    refunded: bool = False


class Months(SimulatedWorld):
    """Subscriptions whose time passes six hours at a time."""

    def __init__(self, account_id, buyers: list[Buyer], seed: int) -> None:
        super().__init__(account_id, [], seed)
        self.buyers, self.payments, self.found = buyers, {}, Counter()
        self.provider_up, self.we_run, self.until = True, True, 0.0
        self.lapsed, self.outages = 0, 0

    def live(self, steps: int, *, quiet: bool = False) -> None:
        """Let so many times six hours pass. Nothing goes wrong in quiet ones, and nobody pays."""
        for _ in range(steps):
            self.now += STEP
            with transaction() as session:
                for statement in _TICK:
                    session.execute(statement, {"by": timedelta(seconds=STEP)})
            for buyer in self.buyers:
                buyer.left -= STEP
            self._weather(quiet=quiet)
            if not self.we_run:
                continue
            tasks.scan_subscriptions.run()
            self._look()
            for buyer in [] if quiet else self.buyers:
                self._act(buyer)
            self._start("scan", tasks.scan_pending.run)
            self._rush(quiet=quiet)

    def judge(self) -> Counter:
        """Compare what was paid with the periods that were added."""
        with reading() as session:
            added = {row.theirs: row for row in session.execute(_EXTENSIONS)}
            self.found["a license for a renewal"] += session.scalar(_LICENSES_OF_RENEWALS)
        for theirs, payment in self.payments.items():
            row = added.get(theirs)
            if row is None:
                self.found["paid, and not renewed"] += payment.settled and not payment.refunded
                continue
            self.found["renewed without a payment"] += not payment.settled
            self.found["another payment state than the period's"] += payment.refunded != row.taken_back
            if payment.clear is not None:
                right = abs((row.added if payment.clear else row.ahead) - row.period) < 2
                self.found["a period at the wrong end"] += not right
        self.found["renewed without a payment"] += len(set(added) - set(self.payments))
        self.found.update(self.breaches)
        self.found.update(self.transactions.breaches)
        return +self.found

    def _weather(self, *, quiet: bool) -> None:
        """The provider goes down for one to nine days now and then, and so do we."""
        if quiet or self.now >= self.until:
            fails = not quiet and self.random.random() < 0.03
            self.provider_up = not fails or self.random.random() < 0.4
            self.we_run = not fails or not self.provider_up
            self.until = self.now + (self.random.uniform(1, 9) * DAY if fails else DAY)
            self.outages += fails
            for buyer in self.buyers:
                buyer.turns += fails
        self._server.trouble = None if self.provider_up else RemoteUnavailable("the fake provider is down.")
        for number in range(0 if self.provider_up or not self.we_run else 6):  # visitors, who open the breaker
            self._try(lambda number=number: purchase(
                DATABASE, Order("editor", buyer_email=f"{number}@example.com"), signer_id, "tests"
            ))  # fmt: skip

    def _look(self) -> None:
        """Read all licenses, and judge whether each is rightly valid or not."""
        with reading() as session:
            rows = {row.id: row for row in session.execute(_LICENSES)}
        for buyer in self.buyers:
            row = rows[buyer.license_id]
            if row.left > buyer.left + HOUR:  # renewed
                buyer.payable, buyer.turns, buyer.exempt = 0.0, 0, False
                buyer.wants_at = self.now + row.left + self._habit()
            elif buyer.left - row.left > 2 * STEP:  # a payment went back
                buyer.exempt = True
            buyer.left, buyer.grace = row.left, row.grace
            if buyer.left < 0 and not buyer.exempt:
                buyer.payable += STEP if self.provider_up else 0
                self._judge_now(buyer)

    def _judge_now(self, buyer: Buyer) -> None:
        slack = STEP * (3 + 3 * buyer.turns)
        if not buyer.valid:
            self.lapsed += 1
            self.found["lapsed, and could not be paid"] += buyer.payable < GRACE - slack
        else:
            self.found["valid without a payment"] += buyer.payable > GRACE + slack

    def _habit(self) -> float:
        """When a buyer pays, from the end of the license: early, in grace, late, or much later."""
        kind = self.random.random()
        if kind < 0.55:
            return -self.random.uniform(0.5, 5) * DAY
        return self.random.uniform(*((0, 6) if kind < 0.8 else (9, 30) if kind < 0.9 else (40, 90))) * DAY

    def _act(self, buyer: Buyer) -> None:
        if self.now < buyer.wants_at:
            return
        invoice_id = self._try(lambda: renew(DATABASE, buyer.license_id, "tests", lambda found: f"https://x/{found}"))
        if invoice_id is None:
            return
        with reading() as session:
            theirs = session.scalar(
                text("SELECT provider_invoice_id FROM invoices WHERE id = :id AND status = 'pending'"),
                {"id": invoice_id},
            )
        if theirs is None or theirs in self.payments:
            return
        if self.random.random() < 0.05:  # opened, and not paid
            buyer.wants_at = self.now + 2 * DAY
            return
        margin = buyer.left + buyer.grace
        self.payments[theirs] = Payment(buyer, None if abs(margin) < 2 * DAY else margin > 0)
        self._server.say(theirs, ProviderStatus.SETTLED, PaymentException.NONE, PRICE)
        buyer.wants_at = self.now + 3 * DAY  # unless it is renewed by then
        for _ in range(self.random.choice([0, 1, 1, 2])):
            self._announce(theirs, "InvoiceSettled")
        if self.random.random() < 0.02:
            self.payments[theirs].refunded = True
            self._refund_later(theirs)

    def _refund_later(self, theirs: str) -> None:
        self._rush(quiet=True)
        self._server.say(theirs, ProviderStatus.REFUNDED, PaymentException.NONE, PRICE)
        with reading() as session:
            done = session.scalar(
                text("SELECT fulfilled_at IS NOT NULL FROM invoices WHERE provider_invoice_id = :theirs"),
                {"theirs": theirs},
            )
        if not done:  # it went back before it was noticed
            self.payments[theirs].settled = False
        self._announce(theirs, "InvoiceInvalid")

    def _announce(self, theirs: str, kind: str) -> None:
        event = ReceivedEvent(f"delivery-{self.random.getrandbits(64)}", kind, theirs)
        with transaction() as session:
            event_id = store(session, self.account_id, event, b"{}")
        if event_id is not None:
            tasks.handle_provider_event.apply_async((str(event_id),))

    def _rush(self, *, quiet: bool) -> None:
        """Let workers work, some of which die, with messages that are lost, doubled and late."""
        moves = [(self._advance, 40), (self._deliver, 40), (self._kill, 1), (self._lose_one, 1), (self._double, 1)]
        moves, weights = zip(*(moves[:2] if quiet else moves), strict=True)
        while self.actors or self.messages:
            self.random.choices(moves, weights)[0]()

    def _lose_one(self) -> None:
        if self.messages:
            self.messages.pop(self.random.randrange(len(self.messages)))

    @staticmethod
    def _try(call):
        try:
            return call()
        except KeysatError:
            return None


def main() -> int:
    """Live through the months, and judge."""
    licenses, months, seed = (int(argument) for argument in sys.argv[1:4])
    configure_logs(load_settings())
    migrations.upgrade()
    random.seed(seed)
    outages.MAX_GAP = timedelta(seconds=1.5 * STEP)  # a run each six hours, in place of each minute
    with plugged_in():
        fake_server(FAKE_URL).api_keys = {STORE: "key-of-test-store"}
        account = make_account()
        make_catalog()
        chance = random.Random(seed)
        buyers = [Buyer(UUID(int=chance.getrandbits(128), version=4), 0.0) for _ in range(licenses)]
        world = Months(account.id, buyers, seed)
        ages = [chance.randrange(STEP, PERIOD) for _ in buyers]
        with transaction() as session:
            facts = {"ids": [buyer.license_id for buyer in buyers], "ages": ages, "grace": GRACE}
            now = datetime.now(UTC).replace(microsecond=0)
            session.execute(_SELL, {**facts, "now": now, "signer": signer_id()})
            session.execute(_SUBSCRIBE, {"period": PERIOD, "price": PRICE})
        world.live(months * 30 * DAY // STEP)
        world.live(QUIET_STEPS, quiet=True)
        found = world.judge()
    paid = sum(payment.settled and not payment.refunded for payment in world.payments.values())
    totals = {"paid": paid, "refunded": sum(payment.refunded for payment in world.payments.values())}
    figures = {**totals, "deaths": world.deaths, "outages": world.outages, "lapsed": world.lapsed}
    print(json.dumps({**figures, "breaches": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
