"""`keysat webhook delivery`: sent and pending deliveries, and sending again."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.cli.when import parse_when
from keysat.core.db import reading, transaction
from keysat.webhooks.deliveries import DeliveryStatus, Filter, list_deliveries, show_delivery
from keysat.webhooks.replay import count_replay, replay, resend_delivery

app = typer.Typer(help="Deliveries: sent, pending and failed.", no_args_is_help=True)

Delivery = Annotated[UUID, typer.Argument(metavar="DELIVERY", help="Its id, as in X-Keysat-Delivery.")]
OfEndpoint = Annotated[str | None, typer.Option("--endpoint", help="Only to this endpoint.")]
OfEvent = Annotated[str | None, typer.Option("--event", help="Only of this event, as license.issued.")]
InStatus = Annotated[DeliveryStatus | None, typer.Option("--status", help="Only those that stand so.")]
Since = Annotated[str | None, typer.Option(help="Only of events since then, as 2026-11-25T14:00 or 36h.")]


@app.command("list")
def list_(
    endpoint: OfEndpoint = None,
    event: OfEvent = None,
    status: InStatus = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first. `failed` ones are dead letters."""
    with reading() as session:
        rows = list_deliveries(session, _filter(endpoint, event, status, since), limit)
    show_rows([row.__dict__ for row in rows], as_json)


@app.command()
def show(delivery: Delivery, as_json: AsJson = False) -> None:
    """Show a delivery, its body, and the result of each attempt."""
    with reading() as session:
        row, body, attempts = show_delivery(session, delivery)
    made = [{"at": attempt.at, "status": attempt.status_code, "ms": attempt.duration_ms} for attempt in attempts]
    attempt_rows = [
        {**facts, "error": attempt.error or attempt.answer} for facts, attempt in zip(made, attempts, strict=True)
    ]
    if as_json:
        show_record({**row.__dict__, "body": body, "attempt_log": attempt_rows}, as_json)
        return
    show_record({**row.__dict__, "body": body}, as_json)
    show_rows(attempt_rows, as_json)


@app.command()
def retry(delivery: Delivery) -> None:
    """Send a delivery again, at once and with ten attempts. Earlier attempts stay on record."""
    with transaction() as session:
        resend_delivery(session, delivery, actor="cli")
    say(f"delivery {delivery} is due; the worker sends it within seconds")


@app.command("replay")
def replay_(
    endpoint: OfEndpoint = None,
    event: OfEvent = None,
    status: InStatus = DeliveryStatus.FAILED,
    since: Since = None,
    rate: Annotated[float, typer.Option(min=0, max=1_000, help="So many a second; 0 = all at once.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")] = False,
) -> None:
    """Send many deliveries again, oldest first: failed ones, or with --status delivered those that arrived."""
    which = _filter(endpoint, event, status, since)
    if dry_run:
        with reading() as session:
            say(f"{count_replay(session, which)} deliveries would be sent again")
        return
    with transaction() as session:
        count = replay(session, which, rate, actor="cli")
    say(f"{count} deliveries are sent again{f', {rate:g} a second' if rate else ''}")


def _filter(endpoint: str | None, event: str | None, status: DeliveryStatus | None, since: str | None) -> Filter:
    return Filter(endpoint, event, status, None if since is None else parse_when(since))
