"""`keysat audit`: who changed what, when and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, Row, show_rows
from keysat.core.db import reading
from keysat.models import AuditLine
from keysat.operations.timeline import Moment, audit_lines

app = typer.Typer(help="The audit log.", no_args_is_help=True)


def moment_rows(moments: Iterable[Moment | AuditLine]) -> list[Row]:
    """Convert events to rows for printing."""
    return [
        {
            "at": moment.at,
            "actor": moment.actor,
            "action": moment.action,
            "subject_id": str(moment.subject_id),
            "detail": json.dumps(moment.detail, ensure_ascii=False),
        }
        for moment in moments
    ]


@app.command("list")
def list_(
    subject: Annotated[UUID | None, typer.Argument(help="Only lines about this invoice, license or account.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List audit lines, oldest first."""
    with reading() as session:
        lines = audit_lines(session, None if subject is None else [subject], limit)
    show_rows(moment_rows(reversed(lines)), as_json)
