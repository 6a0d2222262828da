"""`keysat tip`: tips to Lightning Addresses."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.core.db import reading, transaction
from keysat.core.money import MSAT
from keysat.models import Tip
from keysat.models.tip import TipStatus
from keysat.tips.manage import list_tips, mark_sent, require_tip, retry_tip

app = typer.Typer(help="Tips to Lightning Addresses.", no_args_is_help=True)

WhichTip = Annotated[UUID, typer.Argument(metavar="TIP", help="Its id.")]


@app.command("list")
def list_(
    status: Annotated[TipStatus | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List tips, newest first."""
    with reading() as session:
        rows = list_tips(session, status, limit)
    show_rows([_summary(row) for row in rows], as_json)


@app.command()
def show(tip: WhichTip, as_json: AsJson = False) -> None:
    """Show a tip, and the payment that paid it or may have paid it."""
    with reading() as session:
        row = require_tip(session, tip)
    record = {
        **_summary(row),
        "label": row.label,
        "invoice": str(row.invoice_id),
        "license": str(row.license_id),
        "payment_hash": row.payment_hash,
        "paying_since": row.paying_since,
        "fee_msat": row.fee_msat,
        "attempts": row.attempts,
        "created": row.created_at,
        "ended": row.ended_at,
    }
    show_record(record, as_json)


@app.command()
def retry(
    tip: WhichTip,
    note: Annotated[str, typer.Option(help="How you know that it wasn't paid; needed for one that is held.")] = "",
) -> None:
    """Retry a tip that failed, was skipped or is held. One under way is checked automatically."""
    with transaction() as session:
        retry_tip(session, tip, note, actor="cli")
    say(f"tip {tip} is due; the worker tries it within a minute")


@app.command()
def sent(tip: WhichTip, note: Annotated[str, typer.Option(help="How you know that it was paid.")] = "") -> None:
    """Mark a tip as paid whose payment you found at the node. No payment is made."""
    with transaction() as session:
        mark_sent(session, tip, note, actor="cli")
    say(f"tip {tip} is marked as sent")


def _summary(row: Tip) -> dict[str, object]:
    return {
        "id": str(row.id),
        "status": row.status,
        "recipient": row.recipient,
        "sats": row.amount_msat // MSAT,
        "next_attempt": row.next_attempt_at,
        "last_error": row.last_error,
    }
