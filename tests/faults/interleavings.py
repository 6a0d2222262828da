"""At least 100,000 invoices' lives, each an interleaving of webhooks, scans, crashes and provider's changes.

Two in five are renewals, two of each license.

Run by itself in a process over a database of its own: `python -m tests.faults.interleavings LIVES SEED`, which prints
what it found as JSON.
"""

import json
import random
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

from sqlalchemy import delete, text

from keysat import migrations
from keysat.core.db import Base, Database, reading, transaction
from keysat.core.logs import configure_logs
from keysat.core.settings import load_settings
from keysat.providers import registry
from keysat.providers.fake import Fake, fake_server
from keysat.queue import send
from keysat.tasks import app, retry, tasks
from keysat.tasks.support import signer_id
from tests.builders import FAKE_URL, STORE, make_account, make_catalog
from tests.faults.lives import PAID, Life
from tests.faults.oracle import FORWARD, Oracle
from tests.faults.simulated import SimulatedWorld, SlowFake

LIVES_AT_ONCE, STEPS_A_LIFE = 20, 18
RENEWALS, RENEWALS_A_LICENSE, PERIOD = 8, 2, timedelta(days=30)
_OPEN = text("""
    INSERT INTO invoices (id, provider_account_id, provider_invoice_id, checkout_url, product_id, policy_id,
                          base_amount, amount, currency, created_at, next_check_at, target_license_id)
    SELECT theirs.id, a.id, theirs.name, 'x', p.product_id, p.id, 21000, 21000, 'BTC', now(), now(), theirs.target
    FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:targets AS uuid[])) AS theirs (id, name, target),
         provider_accounts a, policies p
""")
_SELL = text("""
    INSERT INTO licenses (id, product_id, policy_id, source, is_trial, is_recurring, max_machines, grace_seconds,
                          entitlements, issued_at, expires_at, signer)
    SELECT sold.id, p.product_id, p.id, 'manual', false, true, 1, 0, '{}', now(), :until, :signer
    FROM unnest(CAST(:ids AS uuid[])) AS sold (id), policies p
""")
_SUBSCRIBE = text("""
    INSERT INTO subscriptions (id, license_id, period_seconds, amount, currency)
    SELECT gen_random_uuid(), id, :seconds, 21000, 'BTC' FROM licenses
""")
# What an invoice ever led to: licenses or, for a renewal, periods.
_ENDS = text("""
    SELECT i.provider_invoice_id, i.reversed_at IS NOT NULL, i.target_license_id IS NOT NULL,
           (SELECT count(*) FROM oracle.licenses_written l WHERE l.invoice_id = i.id),
           (SELECT count(*) FROM license_extensions e WHERE e.invoice_id = i.id)
    FROM invoices i
""")
_RENEWED = text("""
    SELECT l.expires_at, count(e.id) FILTER (WHERE e.taken_back_at IS NULL)
    FROM licenses l LEFT JOIN license_extensions e ON e.license_id = l.id WHERE l.is_recurring GROUP BY l.id
""")
_WRONG = text("""
    SELECT (SELECT count(*) FROM licenses l JOIN invoices i ON i.id = l.invoice_id
            WHERE i.target_license_id IS NOT NULL),
           (SELECT count(*) FROM license_extensions e JOIN invoices i ON i.id = e.invoice_id
            WHERE e.taken_back_at IS NULL AND i.reversed_at IS NOT NULL)
""")
_CHANGES = text("SELECT was, became FROM oracle.status_changes")
_KEPT = {"provider_accounts", "products", "policies", "signing_keys"}
_MAX_ROUNDS = 40


def main() -> int:
    """Play worlds until so many lives were lived."""
    wanted, seed = int(sys.argv[1]), int(sys.argv[2])
    configure_logs(load_settings())
    migrations.upgrade()
    found: Counter[str] = Counter()
    total = Counter(lived=0, deaths=0, paid=0, licensed=0)
    with plugged_in():
        account_id = _open_shop()
        while total["lived"] < wanted and not found:
            world = _world(account_id, seed + total["lived"])
            world.play(LIVES_AT_ONCE * STEPS_A_LIFE)
            rounds = 0
            while (missing := _missing(world)) and rounds < _MAX_ROUNDS:
                world.tick()
                rounds += 1
            found.update([*missing, *_breaches(world), *world.breaches])
            paid = sum(life.state in PAID for life in world.lives.values())
            licensed = sum(led_to for _, _, led_to in _ends())
            total.update(lived=LIVES_AT_ONCE, deaths=world.deaths, paid=paid, licensed=licensed)
            if found:
                found[f"in the world of seed {world.seed}"] += 1
    print(json.dumps({**total, "breaches": found}))
    return 0


def _open_shop():
    fake_server(FAKE_URL).api_keys = {STORE: "key-of-test-store"}
    account = make_account()
    make_catalog()
    with reading() as session:
        Oracle(session.connection().engine.url.render_as_string(hide_password=False), "").watch()
    return account.id


def _world(account_id, seed: int) -> SimulatedWorld:
    """An empty world with so many invoices, open here and at the provider."""
    server = fake_server(FAKE_URL)
    server.snapshots.clear()
    server.trouble = None
    lives = [Life(f"{STORE}-{number}") for number in range(LIVES_AT_ONCE)]
    random.seed(seed)
    world = SimulatedWorld(account_id, lives, seed)
    ids = world.open_at(server)
    sold = [UUID(int=world.random.getrandbits(128), version=4) for _ in range(RENEWALS // RENEWALS_A_LICENSE)]
    targets = [*(sold * RENEWALS_A_LICENSE), *[None] * (LIVES_AT_ONCE - RENEWALS)]
    world.until = datetime.now(UTC).replace(microsecond=0) + PERIOD
    with transaction() as session:
        session.execute(text("UPDATE invoices SET target_license_id = NULL"))  # they refer to each other
        for table in Base.metadata.sorted_tables[::-1]:
            if table.name not in _KEPT:
                session.execute(delete(table))
        session.execute(text("DELETE FROM oracle.status_changes; DELETE FROM oracle.licenses_written"))
        session.execute(text("SELECT setseed(:seed)"), {"seed": (seed % 2**16) / 2**16})
        session.execute(text("UPDATE provider_accounts SET failure_count = 0, open_until = NULL"))
        session.execute(_SELL, {"ids": sold, "until": world.until, "signer": signer_id()})
        session.execute(_SUBSCRIBE, {"seconds": PERIOD.total_seconds()})
        session.execute(_OPEN, {"ids": list(ids.values()), "names": list(ids), "targets": targets})
    return world


def _ends() -> list[tuple[str, bool, int]]:
    """The provider's id of each invoice, whether it was reversed, and how many licenses or periods it led to."""
    with reading() as session:
        rows = session.execute(_ENDS).all()
    return [(theirs, gone, periods if renewal else licenses) for theirs, gone, renewal, licenses, periods in rows]


def _missing(world: SimulatedWorld) -> list[str]:
    """Liveness: what is paid has its license, and what was refunded has none, if a webhook announced it."""
    missing = []
    for theirs, is_reversed, led_to in _ends():
        life = world.lives[theirs]
        if life.state in PAID and not led_to:
            missing.append("paid, and no license")
        if life.reported_loss and led_to and not is_reversed:
            missing.append("gone, and still licensed")
    return missing


def _breaches(world: SimulatedWorld) -> list[str]:
    """Safety: never two, never unpaid, never backwards. Each license ends where its paid periods end."""
    found = ["two licenses for an invoice" for _, _, led_to in _ends() if led_to > 1]
    unpaid = [theirs for theirs, _, led_to in _ends() if led_to and not world.lives[theirs].was & PAID]
    found += ["a license without a payment" for _ in unpaid]
    with reading() as session:
        changes = session.execute(_CHANGES).all()
        ends = session.execute(_RENEWED).all()
        second, kept = session.execute(_WRONG).one()
    found += ["a license for a renewal"] * second + ["a period whose payment went back"] * kept
    found += ["another end than the paid periods'" for end, periods in ends if end != world.until + periods * PERIOD]
    return found + [f"{was} to {became}" for was, became in changes if (was, became) not in FORWARD]


@contextmanager
def plugged_in():
    """Keysat's tasks over the simulated world of the moment, for as long as the block lasts."""

    def world():
        return SimulatedWorld.current

    def begin():
        return world().transactions.begin()

    def read():
        return world().transactions.read()

    def apply_async(self, args, expires=None, **_):
        world().send(self.name, args[0], expires)

    clock = SimpleNamespace(monotonic=lambda: world().now)
    was = registry._KINDS.get(Fake.kind)
    registry.register(SlowFake)
    replaced = [
        (tasks, "transaction", begin),
        (tasks, "reading", read),
        (tasks, "DATABASE", Database(read, begin)),
        (retry, "transaction", begin),
        (tasks, "time", clock),
        (send, "time", clock),
        (tasks, "queued", lambda *_: len(world().messages)),
        (app.app, "producer_or_acquire", lambda *_: nullcontext()),
        (app._Task, "apply_async", apply_async),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        if was is not None:
            registry.register(was)


if __name__ == "__main__":
    sys.exit(main())
