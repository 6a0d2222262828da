"""Totals of the requests to the provider side, with or without a fault."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from keysat.sandbox.provider import Route


class Tally:
    """Totals by store, by route (such as `GET invoice`) and, for single reads, by invoice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._by_store: Counter[str] = Counter()
            self._by_route: Counter[str] = Counter()
            self._reads: Counter[str] = Counter()

    def count(self, route: Route) -> None:
        with self._lock:
            self._by_route[route.name] += 1
            if route.store_id is not None:
                self._by_store[route.store_id] += 1
            if route.name == "GET invoice" and route.invoice_id is not None:
                self._reads[route.invoice_id] += 1

    def requests(self) -> dict[str, Any]:
        """Return `{"total": n, "by_store": {id: n}, "by_route": {route: n}}`."""
        with self._lock:
            by_route, by_store = dict(self._by_route), dict(self._by_store)
        return {"total": sum(by_route.values()), "by_store": by_store, "by_route": by_route}

    def reads(self) -> dict[str, int]:
        """Return how often each invoice was read by its id."""
        with self._lock:
            return dict(self._reads)
