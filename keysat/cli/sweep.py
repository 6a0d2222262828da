"""`keysat sweep`: check many invoices in one call to the provider, after an outage or to be sure."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keysat.accounts.manage import require_account
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.cli.when import parse_when
from keysat.core.db import DATABASE, reading
from keysat.core.errors import BrokerUnavailable
from keysat.core.settings import load_settings
from keysat.invoices.due import release_invoices
from keysat.models import Sweep
from keysat.queue.send import send
from keysat.settlement.outcome import rules_of
from keysat.settlement.sweep import Page, pages
from keysat.tasks.tasks import reconcile_invoice


def sweep(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The provider account's name.")],
    since: Annotated[
        str | None, typer.Option(help="Made since then, as 2026-11-25 or 36h; default: since the oldest open invoice.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over instead of resuming an interrupted sweep.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch many invoices from the provider in one call, and reconcile those that changed.

    Paid invoices that lost their rows are adopted if they state what they are for. The others are listed as orphans,
    for you to handle. An interrupted sweep resumes.
    """
    begins = None if since is None else parse_when(since)
    with reading() as session:
        account_id = require_account(session, account).id
    last: Sweep | None = None
    for page in _watched(pages(DATABASE, account_id, rules_of(load_settings()), begins, restart=restart)):
        _show_page(page)
        last = page.sweep
    assert last is not None
    counts = {
        "seen": last.seen,
        "skipped": last.skipped,
        "changed": last.changed,
        "adopted": last.adopted,
        "orphans": len(last.orphans),
    }
    if as_json:
        show_record({**counts, "orphans": last.orphans}, as_json)
        return
    show_record(counts, as_json)
    if last.orphans:
        say("paid at the provider, and no invoice here; see what they are, and issue the missing licenses by hand:")
        show_rows(last.orphans, as_json)


def _show_page(page: Page) -> None:
    try:
        send(DATABASE, reconcile_invoice, page.changed, time.monotonic(), release_invoices)
    except BrokerUnavailable as error:
        say(f"{explained(error)} The {len(page.changed)} invoices that changed are due for the next scan.")


def _watched(found: Iterable[Page]) -> Iterator[Page]:
    """Show progress: a bar on a terminal, a line every few seconds elsewhere."""
    if sys.stderr.isatty():
        columns = (TextColumn("sweeping"), BarColumn(), TextColumn("{task.fields[seen]:,} seen"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("sweep", total=1.0, seen=0)
            for page in found:
                progress.update(task, completed=_share(page.sweep), seen=page.sweep.seen)
                yield page
        return
    last_shown = time.monotonic()
    for page in found:
        if time.monotonic() - last_shown > 5:
            last_shown = time.monotonic()
            say(f"{page.sweep.seen:,} invoices seen, {page.sweep.changed:,} changed")
        yield page


def _share(sweep: Sweep) -> float:
    """Return the finished share of the time span, from 0 to 1."""
    span = (sweep.started_at - sweep.since).total_seconds()
    left = (sweep.next_until - sweep.since).total_seconds()
    return 1.0 if sweep.finished or span <= 0 else min(1.0, max(0.0, 1 - left / span))
