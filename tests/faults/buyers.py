"""Buyers who open and pay invoices, at the provider and in the database, many at once."""

import threading
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import DateTime, text, update

from keysat.core.db import Base, transaction
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.ledger import Ledger
from tests.builders import STORE
from tests.faults.hasty import LAPSE

_OPENED = text("""
    INSERT INTO invoices (id, provider_account_id, provider_invoice_id, checkout_url, product_id, policy_id,
                          base_amount, amount, currency, buyer_email, created_at, next_check_at)
    SELECT gen_random_uuid(), a.id, theirs.id, 'http://sandbox', p.product_id, p.id, 21000, 21000, 'BTC',
           theirs.id || '@example.com', now(), now() + interval '1 second' * :seconds * random()
    FROM unnest(CAST(:ids AS text[])) AS theirs (id), provider_accounts a, policies p
""")


class Buyers:
    """What they do, and how much they paid for."""

    def __init__(self, client: SandboxClient, ledger: Ledger) -> None:
        self.client, self._ledger, self._paid = client, ledger, 0

    @property
    def paid(self) -> int:
        """How many invoices were paid so far."""
        return self._paid

    def open(self, count: int) -> list[str]:
        """Open `count` invoices at once, here and at the provider. Returns the provider's ids."""
        ids = self.client.create_many(STORE, count, {"amount": "0.00021000", "currency": "BTC", "expirySeconds": 3600})
        with transaction() as session:
            session.execute(_OPENED, {"ids": ids, "seconds": LAPSE})
        return ids

    def pay(self, ids: list[str]) -> None:
        """Let buyers pay."""
        for invoice_id in ids:
            self._ledger.pay(invoice_id)
            self._paid += 1

    def sell(self, count: int, unpaid: int = 0) -> None:
        """Open `count` invoices that are paid and `unpaid` others, every second of which is paid in half."""
        ids = self.open(count + unpaid)
        for half in ids[count::2]:
            self.client.pay(half, "0.00010500")
        self.pay(ids[:count])

    def let_pass(self, span: timedelta) -> None:
        """Let time pass for the database, by whose clock everything is due."""
        with transaction() as session:
            for table in Base.metadata.sorted_tables:
                times = [column for column in table.columns if isinstance(column.type, DateTime)]
                if times:
                    session.execute(update(table).values({column: column - span for column in times}))

    @contextmanager
    def buyers(self, a_second: float, sell=None):
        """Let buyers come at this rate for as long as the block lasts."""
        over = threading.Event()

        def come():
            while not over.wait(1 / a_second):
                with suppress(Exception):  # without a database, the purchase didn't happen
                    (sell or self.sell)(1)

        crowd = threading.Thread(target=come, name="buyers", daemon=True)
        crowd.start()
        try:
            yield
        finally:
            over.set()
            crowd.join(30)
