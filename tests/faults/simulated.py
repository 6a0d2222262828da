"""A world of many invoices whose webhooks, scans, crashes and provider's changes come in an order that a seed decides.

Everything of Keysat's between the tasks and PostgreSQL is the real thing. The clock (rows are moved into the past), the
provider, the broker and the order are not.
"""

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from keysat.accounts.inbox import store
from keysat.core.db import engine
from keysat.core.errors import RemoteUnavailable
from keysat.providers.base import ReceivedEvent
from keysat.providers.fake import Fake, FakeServer, fake_server
from keysat.tasks import tasks
from tests.builders import FAKE_URL
from tests.faults.actors import Actor, Transactions, boundary
from tests.faults.lives import GONE, Life

ACTORS = 4
# What is due by the database's clock. A webhook's time is not moved: running checks compare it with their start.
_MOVED = {
    "invoices": ("next_check_at", "created_at", "asked_at", "last_checked_at", "settled_at"),
    "provider_events": ("next_attempt_at", "looked_at"),
    "provider_accounts": ("open_until",),
}
_TICK = [
    text(f"UPDATE {table} SET {', '.join(f'{column} = {column} - :by' for column in columns)}")
    for table, columns in _MOVED.items()
]


@dataclass(frozen=True)
class Message:
    """A message in the broker, with `until` in the world's seconds."""

    task: str
    row_id: str
    until: float
    doubled: bool = False


class SlowFake(Fake):
    """The fake provider over a network: other actors run before its response is created, and before it arrives."""

    def _ask(self):
        boundary()
        return super()._ask()

    def get_invoice(self, provider_invoice_id):
        world = SimulatedWorld.current
        world.transactions.outside("a call")
        answer = super().get_invoice(provider_invoice_id)
        boundary()
        if world.random.random() < world.trouble:
            raise RemoteUnavailable("the fake provider's answer got lost.")
        return answer


class SimulatedWorld:
    """So many invoices, their lives at the provider, the broker's messages, and the actors at work."""

    current = None
    until = None

    def __init__(self, account_id, lives: list[Life], seed: int) -> None:
        self.account_id, self.lives = account_id, {life.theirs: life for life in lives}
        self.seed, self.random = seed, random.Random(seed)
        self.messages: list[Message] = []
        self.actors: list[Actor] = []
        self.now, self.trouble, self.deaths, self.events = 0.0, 0.0, 0, 0
        self.breaches: list[str] = []
        self.transactions = Transactions(_writing, _reading, lambda: self.random.random() < 0.02)
        SimulatedWorld.current = self
        self._server = fake_server(FAKE_URL)
        self._moves = [
            (self._advance, 60), (self._deliver, 16), (self._change, 10), (self._hear, 8), (self._scan, 2),
            (self._kill, 2), (self._lose, 2), (self._double, 2), (self._let_pass, 3), (self._turn, 1),
        ]  # fmt: skip

    def play(self, steps: int) -> None:
        """Take `steps` random steps, then end all faults and finish all pending work."""
        moves, weights = zip(*self._moves, strict=True)
        for move in self.random.choices(moves, weights, k=steps):
            move()
        self.trouble = 0.0
        self._server.trouble = None
        self._finish()
        self.breaches += self.transactions.breaches

    def open_at(self, server: FakeServer) -> dict[str, UUID]:
        """Open all invoices at the provider. Returns our ids by the provider's."""
        ids = {theirs: UUID(int=self.random.getrandbits(128), version=4) for theirs in self.lives}
        for theirs, ours in ids.items():
            self.lives[theirs].open_at(server, ours)
        return ids

    def tick(self) -> None:
        """Let a minute pass, scan, and finish all pending work."""
        self._let_pass(60)
        self._start("scan", tasks.scan_pending.run)
        self._finish()

    # What may happen -----------------------------------------------------------------------------------------------

    def _advance(self):
        if self.actors:
            self._step(self.random.choice(self.actors))

    def _deliver(self):
        if self.messages and len(self.actors) < ACTORS:
            place = self.random.randrange(min(len(self.messages), 8))  # workers take them almost in order
            message = self.messages.pop(place)
            if message.until > self.now or self.random.random() < 0.1:  # whose clock is wrong, takes a dead one
                task = getattr(tasks, message.task.removeprefix("keysat."))
                self._start(message.task, lambda: task.run(message.row_id))

    def _change(self):
        self.random.choice(list(self.lives.values())).go_on(self._server, self.random)

    def _hear(self):
        """A webhook of any kind arrives, true, stale or repeated. It is stored, and its message is sent."""
        life = self.random.choice(list(self.lives.values()))
        self.events += 1
        kind = self.random.choice(["InvoiceSettled", "InvoiceExpired", "InvoiceInvalid"])
        event = ReceivedEvent(f"delivery-{self.random.randrange(max(2, self.events))}", kind, life.theirs)

        def take():
            lost = life.state in GONE
            with self.transactions.begin() as session:
                event_id = store(session, self.account_id, event, b"{}")
            if event_id is not None:
                life.reported_loss |= lost
                tasks.handle_provider_event.apply_async((str(event_id),))

        if len(self.actors) < ACTORS:
            self._start("webhook", take)

    def _scan(self):
        if len(self.actors) < ACTORS:
            self._start("scan", tasks.scan_pending.run)

    def _kill(self):
        if self.actors:
            actor = self.random.choice(self.actors)
            self.deaths += 1
            actor.kill()
            self._forget_if_done(actor)

    def _lose(self):
        if self.random.random() < 0.05:
            self.messages.clear()  # FLUSHALL
        elif self.messages:
            self.messages.pop(self.random.randrange(len(self.messages)))

    def _double(self):
        if self.messages:
            place = self.random.randrange(len(self.messages))
            self.messages[place] = replace(self.messages[place], doubled=True)
            self.messages.append(self.messages[place])

    def _let_pass(self, seconds: float | None = None):
        seconds = self.random.uniform(1, 40) if seconds is None else seconds
        self.now += seconds
        with _writing() as session:
            for statement in _TICK:
                session.execute(statement, {"by": timedelta(seconds=seconds)})

    def _turn(self):
        """The provider gets better or worse."""
        self.trouble = self.random.choice([0.0, 0.0, 0.3])
        self._server.trouble = self.random.choice([None, None, RemoteUnavailable("the fake provider is down.")])

    # How it happens ------------------------------------------------------------------------------------------------

    def send(self, task: str, row_id: str, expires: float | None) -> None:
        """Take a message."""
        self.transactions.outside("a message")
        same = [
            message
            for message in self.messages
            if (message.task, message.row_id) == (task, row_id) and not message.doubled
        ]
        # One is the rule. After an error, or a settlement that lost to another change, the invoice is checked sooner.
        if task == "keysat.reconcile_invoice" and sum(message.until > self.now for message in same) > 1:
            self.breaches.append("three live messages for an invoice")
        self.messages.append(Message(task, row_id, math.inf if expires is None else self.now + expires))

    def _start(self, name, run):
        self.actors.append(Actor(name, run))

    def _step(self, actor):
        actor.resume()
        self._forget_if_done(actor)

    def _forget_if_done(self, actor):
        if actor.done:
            self.actors.remove(actor)
            if actor.error:
                self.breaches.append(f"{actor.name}: {actor.error}")

    def _finish(self):
        """Let all actors end and all messages be worked on."""
        while self.actors or self.messages:
            while len(self.actors) < ACTORS and self.messages:
                self._deliver()
            self._advance()


@contextmanager
def _writing():
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def _reading():
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield Session(connection, expire_on_commit=False)
