"""The judge: the sandbox's ledger joined to the licenses. It shares no code with Keysat, only the database.

A trigger keeps each status that an invoice ever had and each license that was ever written, so that what was wrong for
a moment is seen as well as what is wrong in the end.
"""

import json
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg2

FORWARD = {
    ("pending", "settled"),
    ("pending", "expired"),
    ("pending", "invalid"),
    ("expired", "settled"),
    ("expired", "invalid"),
    ("invalid", "settled"),
}
_WATCH = """
CREATE SCHEMA IF NOT EXISTS oracle;
CREATE TABLE IF NOT EXISTS oracle.status_changes (invoice_id uuid, was text, became text);
CREATE TABLE IF NOT EXISTS oracle.licenses_written (license_id uuid, invoice_id uuid);
CREATE OR REPLACE FUNCTION oracle.note_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oracle.status_changes VALUES (NEW.id, OLD.status, NEW.status);
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION oracle.note_license() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oracle.licenses_written VALUES (NEW.id, NEW.invoice_id);
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER note_status AFTER UPDATE OF status ON invoices FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION oracle.note_status();
CREATE OR REPLACE TRIGGER note_license AFTER INSERT ON licenses FOR EACH ROW EXECUTE FUNCTION oracle.note_license();
TRUNCATE oracle.status_changes, oracle.licenses_written;
"""
_LICENSED = """
SELECT i.provider_invoice_id, count(*)
FROM oracle.licenses_written l JOIN invoices i ON i.id = l.invoice_id GROUP BY 1
"""
_IDLE = """
SELECT coalesce(max(extract(epoch FROM now() - state_change)), 0)::float FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%'
"""
_BACKWARD = "SELECT was, became, count(*) FROM oracle.status_changes GROUP BY 1, 2"


@dataclass(frozen=True)
class Verdict:
    """The findings, by the provider's ids, with safety and liveness apart."""

    paid: set[str]
    licensed: Counter[str]
    backward: list[str] = field(default_factory=list)
    tips_paid_twice: int = 0

    @property
    def missing(self) -> set[str]:
        """Paid, and no license: what liveness forbids."""
        return self.paid - set(self.licensed)

    @property
    def duplicates(self) -> int:
        """Licenses beyond the first of an invoice."""
        return sum(count - 1 for count in self.licensed.values())

    @property
    def unpaid(self) -> set[str]:
        """Licensed, and not paid."""
        return set(self.licensed) - self.paid

    @property
    def breaches(self) -> list[str]:
        """Violations of safety, as sentences. Safety is required at any moment, also during a fault."""
        found = [f"{self.duplicates} licenses too many"] if self.duplicates else []
        found += [f"{len(self.unpaid)} licenses without a payment"] if self.unpaid else []
        found += [f"{self.tips_paid_twice} tips paid twice"] if self.tips_paid_twice else []
        return found + self.backward


class Oracle:
    """Watches one database and one sandbox."""

    def __init__(self, database_url: str, sandbox_url: str) -> None:
        self._dsn = database_url.replace("postgresql+psycopg2:", "postgresql:")
        self._sandbox_url = sandbox_url

    def watch(self) -> None:
        """Begin to keep what happens, from an empty record."""
        with self.query() as cursor:
            cursor.execute(_WATCH)

    def take_over(self) -> None:
        """Start again from the current rows, as after a restore, with each license written once."""
        self.watch()
        with self.query() as cursor:
            cursor.execute("INSERT INTO oracle.licenses_written SELECT id, invoice_id FROM public.licenses")

    def judge(self) -> Verdict:
        """Compare. The licenses are read first, so a payment in between isn't mistaken for a missing one."""
        with self.query() as cursor:
            cursor.execute(_LICENSED)
            licensed = Counter(dict(cursor.fetchall()))
            cursor.execute(_BACKWARD)
            changes = cursor.fetchall()
        backward = [
            f"{count} times {was} to {became}" for was, became, count in changes if (was, became) not in FORWARD
        ]
        ledger, lightning = self._ask("ledger"), self._ask("lightning")
        paid = {invoice["id"] for invoice in ledger["invoices"] if invoice["paid_at"] is not None}
        # A node pays one invoice once, so a tip is paid twice where another invoice was paid for it.
        tips = self.count("SELECT count(*) FROM tips WHERE status IN ('sent', 'paying', 'held')")
        twice = max(0, sum(payment["paid"] for payment in lightning["payments"]) - tips)
        return Verdict(paid, licensed, backward, twice)

    def licenses(self) -> int:
        """Count them cheaply."""
        return self.count("SELECT count(*) FROM licenses")

    def longest_idle_transaction(self) -> float:
        """Seconds that the idlest open transaction has been waiting for its client."""
        return self.count(_IDLE)

    def count(self, question: str) -> int:
        """The one number that a question asks for."""
        with self.query() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]

    def run(self, statement: str) -> None:
        """Run a statement that can't be in a transaction."""
        connect = psycopg2.connect(self._dsn, connect_timeout=5)
        connect.autocommit = True
        with closing(connect), connect.cursor() as cursor:
            cursor.execute(statement)

    @contextmanager
    def query(self):
        """A cursor of a connection of its own, committed at the end."""
        connect = psycopg2.connect(self._dsn, connect_timeout=5)
        with closing(connect) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def _ask(self, what: str) -> dict:
        with urllib.request.urlopen(f"{self._sandbox_url}/sandbox/{what}", timeout=60) as answer:
            return json.load(answer)
