"""The sandbox's state: stores, invoices and payments behind one lock. It contains no HTTP."""

from __future__ import annotations

import heapq
import math
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from keysat.core.errors import InvalidInput, NotFound
from keysat.core.money import parse_decimal
from keysat.sandbox import transitions
from keysat.sandbox.records import Draft, Event, Invoice, Kind, Status, Store, Webhook, lightning_payment
from keysat.sandbox.transitions import Step
from keysat.sandbox.views import ledger_entry

Clock = Callable[[], float]
Emit = Callable[[Store, Event], None]


def _ignore(_store: Store, _event: Event) -> None:
    """Drop the event."""


class Ledger:
    """All stores and invoices. Each change is atomic. Events are emitted in the order of the changes."""

    def __init__(self, emit: Emit = _ignore, clock: Clock = time.time) -> None:
        """`emit` is called with each event under the lock, so it must return at once. `clock` returns Unix seconds."""
        self._emit, self._clock = emit, clock
        self._lock = threading.Lock()
        self._stores: dict[str, Store] = {}
        self._invoices: dict[str, Invoice] = {}
        self._by_store: dict[str, list[str]] = {}
        self._expiring: list[tuple[int, str]] = []

    def register_store(self, store: Store) -> None:
        """Add a store, or replace its key and webhooks. Its invoices remain."""
        with self._lock:
            self._stores[store.id] = store

    def store(self, store_id: str) -> Store | None:
        return self._stores.get(store_id)

    def knows_key(self, api_key: str) -> bool:
        with self._lock:
            return any(store.api_key == api_key for store in self._stores.values())

    def store_of_key(self, api_key: str, kind: Kind) -> Store | None:
        """Return the store of that kind with that API key, or None."""
        with self._lock:
            stores = self._stores.values()
            return next((store for store in stores if store.kind is kind and store.api_key == api_key), None)

    def store_of_webhook(self, webhook_id: str) -> Store | None:
        with self._lock:
            return next((store for store in self._stores.values() if store.webhook(webhook_id)), None)

    def put_webhook(self, store_id: str, webhook: Webhook) -> None:
        """Add a webhook to a store, or replace the one with the same id."""
        self._change_webhooks(store_id, webhook.id, (webhook,))

    def remove_webhook(self, store_id: str, webhook_id: str) -> None:
        self._change_webhooks(store_id, webhook_id, ())

    def _change_webhooks(self, store_id: str, without: str, added: tuple[Webhook, ...]) -> None:
        with self._lock:
            store = self._stores.get(store_id)
            if store is not None:  # a reset may have removed the store
                kept = tuple(webhook for webhook in store.webhooks if webhook.id != without)
                self._stores[store_id] = replace(store, webhooks=(*kept, *added))

    def create(self, store_id: str, draft: Draft) -> Invoice:
        """Open an invoice in a registered store."""
        with self._lock:
            invoice = self._keep(transitions.opened(store_id, draft, self._clock()))
            self._by_store.setdefault(store_id, []).append(invoice.id)
            heapq.heappush(self._expiring, (invoice.expires_at, invoice.id))
            return invoice

    def find(self, invoice_id: str) -> Invoice | None:
        """Return the current invoice, or None."""
        with self._lock:
            self._expire_due()
            return self._invoices.get(invoice_id)

    def of_store(self, store_id: str, until: float = math.inf) -> Iterator[Invoice]:
        """Return the current invoices of a store that were created up to `until` (Unix seconds), newest first."""
        with self._lock:
            self._expire_due()
            ids = self._by_store.get(store_id, [])
            end = bisect_right(ids, until, key=lambda id_: self._invoices[id_].created_at)
        return (self._invoices[ids[place]] for place in range(end - 1, -1, -1))

    def create_many(self, store_id: str, draft: Draft, count: int) -> list[str]:
        """Open `count` identical invoices, created one second apart up to now. Emits no events. Returns their ids."""
        with self._lock:
            now = self._clock()
            for back in range(count, 0, -1):
                invoice, _ = transitions.opened(store_id, draft, now - back)
                invoice = replace(invoice, expires_at=int(now) + draft.expires_in)
                self._invoices[invoice.id] = invoice
                self._by_store.setdefault(store_id, []).append(invoice.id)
            return self._by_store[store_id][-count:]

    def pay(
        self, invoice_id: str, amount: str | None = None, *, is_confirmed: bool = True, late: bool = False
    ) -> Invoice:
        """Record a buyer's payment.

        Args:
            invoice_id: the invoice to pay.
            amount: a decimal string in whole units. None pays the missing amount.
            is_confirmed: whether the payment is confirmed at once.
            late: expire the invoice first, in the same step.

        Raises:
            NotFound: no such invoice.
            InvalidInput: the amount is malformed or not positive.
            Conflict: `late` is set, and the invoice can't expire any more.
        """
        transition = transitions.paid_late if late else transitions.paid

        def change(invoice: Invoice, now: float) -> Step:
            return transition(invoice, _units(invoice, amount), now, is_confirmed=is_confirmed)

        return self._change(invoice_id, change)

    def pay_lightning(self, invoice_id: str) -> Invoice:
        """Pay the missing amount over Lightning, which is confirmed at once. Raises as `pay`."""

        def change(invoice: Invoice, now: float) -> Step:
            return transitions.received(invoice, lightning_payment(now, _units(invoice, None)), now)

        return self._change(invoice_id, change)

    def confirm(self, invoice_id: str) -> Invoice:
        """Confirm all payments of an invoice. Raises NotFound, or Conflict if all are confirmed already."""
        return self._change(invoice_id, transitions.confirmed)

    def expire(self, invoice_id: str) -> Invoice:
        """Expire an invoice now. Raises NotFound, or Conflict if it is paid, settled or invalid."""
        return self._change(invoice_id, transitions.expired)

    def refund(self, invoice_id: str) -> Invoice:
        """Refund an invoice and mark it invalid. Raises NotFound, or Conflict if there is nothing to refund."""
        return self._change(invoice_id, transitions.refunded)

    def archive(self, invoice_id: str) -> Invoice:
        """Archive an invoice, as a merchant does. Lists omit it from now on. Raises NotFound."""
        return self._change(invoice_id, lambda invoice, _: (replace(invoice, is_archived=True), []))

    def mark(self, invoice_id: str, status: Status) -> Invoice:
        """Mark an invoice `SETTLED` or `INVALID` by hand. Raises NotFound, or Conflict if it can't be marked so."""
        return self._change(invoice_id, lambda invoice, now: transitions.marked(invoice, status, now))

    def expire_due(self) -> None:
        """Expire invoices on time, so that their webhooks are sent even if no client reads them."""
        with self._lock:
            self._expire_due()

    def entries(self) -> list[dict[str, Any]]:
        """Return all invoices in order of creation, in the shape of `views.ledger_entry`."""
        with self._lock:
            self._expire_due()
            invoices = list(self._invoices.values())
        return [ledger_entry(invoice) for invoice in invoices]

    def reset(self) -> None:
        """Remove all stores and invoices."""
        with self._lock:
            self._stores.clear()
            self._invoices.clear()
            self._by_store.clear()
            self._expiring.clear()

    def _change(self, invoice_id: str, change: Callable[[Invoice, float], Step]) -> Invoice:
        with self._lock:
            self._expire_due()
            invoice = self._invoices.get(invoice_id)
            if invoice is None:
                raise NotFound("invoice", invoice_id)
            return self._keep(change(invoice, self._clock()))

    def _keep(self, step: Step) -> Invoice:
        invoice, events = step
        self._invoices[invoice.id] = invoice
        store = self._stores.get(invoice.store_id)  # a reset may have removed the store
        if store is not None:
            for event in events:
                self._emit(store, event)
        return invoice

    def _expire_due(self) -> None:
        now = self._clock()
        while self._expiring and self._expiring[0][0] <= now:
            invoice = self._invoices[heapq.heappop(self._expiring)[1]]
            if invoice.status is Status.NEW:
                self._keep(transitions.expired(invoice, now))


def _units(invoice: Invoice, amount: str | None) -> int:
    units = invoice.amount - invoice.paid if amount is None else parse_decimal(amount, invoice.draft.currency).amount
    if units > 0:
        return units
    if amount is None:
        raise InvalidInput(f"nothing is missing on invoice {invoice.id}; give an amount to pay more.")
    raise InvalidInput(f"a payment of {amount} is none; give more than 0.")
