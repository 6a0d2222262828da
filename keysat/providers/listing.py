"""Parse a provider's list entry by entry. An unreadable entry is reported and doesn't affect the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from keysat.core.errors import KeysatError
from keysat.providers.base import FoundInvoice, InvoicePage, UnreadableInvoice

_MAX_WHY = 200


def read_page(
    items: Sequence[Any],
    read: Callable[[dict[str, Any]], FoundInvoice],
    made_at: Callable[[Any], datetime | None],
    order_id: Callable[[Any], str | None],
    *,
    is_last: bool,
) -> InvoicePage:
    """Parse the entries of a page. `read` raises a `KeysatError` for an unreadable one."""
    found, unreadable = [], []
    for item in items:
        try:
            found.append(read(item if isinstance(item, dict) else {}))
        except (KeysatError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
            theirs = item.get("id") if isinstance(item, dict) else None
            named = theirs if isinstance(theirs, str) and theirs.isprintable() else None
            unreadable.append(UnreadableInvoice(named and named[:200], order_id(item), str(error)[:_MAX_WHY]))
    times = [at for at in map(made_at, items) if at is not None]
    return InvoicePage(tuple(found), tuple(unreadable), len(items), min(times, default=None), is_last)
