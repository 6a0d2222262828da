"""Output of the demo: live progress, and a final comparison of the ledger with the licenses."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from sqlalchemy import select

from keysat.core.db import reading
from keysat.models import Invoice, License

_PLAIN_EVERY_SECONDS = 5.0


@dataclass
class Progress:
    """Totals while the demo runs: a live display on a terminal, elsewhere a line every 5 s."""

    opened: int = 0
    paid: int = 0
    licensed: int = 0
    review: int = 0
    _console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _began: float = field(default_factory=time.monotonic)
    _printed_at: float = 0.0
    _live: Live | None = None

    def say(self, sentence: str) -> None:
        """Report an event with the seconds since the start."""
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {sentence}", soft_wrap=True)

    def show(self) -> None:
        """Update the display."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=8, transient=True)
                self._live.start()
            self._live.update(self._table())
        elif time.monotonic() - self._printed_at > _PLAIN_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            self.say(self._line())

    def finish(self) -> None:
        """Stop the display and report the final totals."""
        if self._live is not None:
            self._live.stop()
        self.say(self._line())

    def _line(self) -> str:
        return f"{self.opened} opened, {self.paid} paid, {self.licensed} licensed, {self.review} in review"

    def _table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2))
        bar = 40
        for name, value in (("opened", self.opened), ("paid", self.paid), ("licensed", self.licensed)):
            filled = bar * value // max(self.opened, 1)
            table.add_row(name, "━" * filled + "[dim]" + "─" * (bar - filled) + "[/dim]", f"{value}")
        table.add_row("in review", "", f"{self.review}")
        return table


@dataclass(frozen=True)
class Comparison:
    """The ledger and the licenses, by the provider's invoice ids. `seconds` are from payment to license."""

    opened: int
    paid: set[str]
    licensed: Counter[str]
    review: dict[str, str]
    seconds: list[float]
    provider_calls: int
    webhooks_dropped: int

    @property
    def missing(self) -> set[str]:
        """Paid invoices without a license."""
        return self.paid - set(self.licensed)

    @property
    def unpaid(self) -> set[str]:
        """Licensed invoices that aren't paid."""
        return set(self.licensed) - self.paid

    @property
    def duplicates(self) -> int:
        """Number of licenses beyond the first of an invoice."""
        return sum(count - 1 for count in self.licensed.values())

    @property
    def agrees(self) -> bool:
        """Whether exactly the paid invoices have exactly one license each."""
        return not self.missing and not self.unpaid and self.duplicates == 0


def compare(ledger: dict[str, Any]) -> Comparison:
    """Join the sandbox's ledger with the licenses in the database."""
    paid_at = {entry["id"]: entry["paid_at"] for entry in ledger["invoices"] if entry["paid_at"] is not None}
    with reading() as session:
        licensed = session.execute(
            select(Invoice.provider_invoice_id, Invoice.fulfilled_at).join(License, License.invoice_id == Invoice.id)
        ).all()
        review = session.execute(
            select(Invoice.provider_invoice_id, Invoice.buyer_email).where(Invoice.review_reason.is_not(None))
        ).all()
    return Comparison(
        opened=len(ledger["invoices"]),
        paid=set(paid_at),
        licensed=Counter(str(provider_id) for provider_id, _ in licensed),
        review={str(provider_id): email or "" for provider_id, email in review},
        seconds=sorted(
            at.timestamp() - paid_at[provider_id] for provider_id, at in licensed if at and provider_id in paid_at
        ),
        provider_calls=ledger["requests"]["total"],
        webhooks_dropped=ledger["webhooks"]["dropped"],
    )


def print_report(comparison: Comparison, *, worker_killed: bool, example: str) -> None:
    """Print the table, the buyers whose invoices a person must review, and how to verify a license."""
    rows = {
        "invoices opened": comparison.opened,
        "paid in full (the sandbox's ledger)": len(comparison.paid),
        "licensed": len(comparison.licensed),
        "missing licenses": len(comparison.missing),
        "duplicate licenses": comparison.duplicates,
        "licenses without a payment": len(comparison.unpaid),
        "paid in part, in review": len(comparison.review),
        "webhooks dropped": comparison.webhooks_dropped,
        "worker killed with -9": "yes" if worker_killed else "no",
        "provider calls": comparison.provider_calls,
    }
    if comparison.seconds:
        rows["seconds from payment to license, median"] = f"{statistics.median(comparison.seconds):.1f}"
        rows["seconds from payment to license, worst"] = f"{comparison.seconds[-1]:.1f}"
    width = max(map(len, rows))
    lines = ["", *(f"  {name:<{width}}  {value:>6}" for name, value in rows.items()), ""]
    if comparison.review:
        lines.append("In review, because only half was paid: " + ", ".join(sorted(comparison.review.values())) + ".")
    for kind, ids in (("Paid without a license", comparison.missing), ("Licensed unpaid", comparison.unpaid)):
        if ids:
            lines.append(f"{kind}: {', '.join(sorted(ids))}.")
    if example:
        lines += ["Verify a license key offline, without any server:", "", example, ""]
    lines.append("Ledger and licenses agree." if comparison.agrees else "LEDGER AND LICENSES DO NOT AGREE.")
    sys.stdout.write("\n".join(lines) + "\n")
