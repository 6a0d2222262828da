"""`keysat audit`: who changed what, when and why."""

from __future__ import annotations

import json
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.cli.output import AsJson, Row, show_rows
from keysat.db import reading
from keysat.models import AuditLine

app = typer.Typer(help="The audit log.", no_args_is_help=True)


def audit_rows(session: Session, subject_ids: list[UUID] | None, limit: int) -> list[Row]:
    """The newest lines, oldest first, of some subjects or of all."""
    wanted = select(AuditLine).order_by(AuditLine.id.desc()).limit(limit)
    if subject_ids is not None:
        wanted = wanted.where(AuditLine.subject_id.in_(subject_ids))
    return [
        {
            "at": line.at,
            "actor": line.actor,
            "action": line.action,
            "subject_id": str(line.subject_id),
            "detail": json.dumps(line.detail, ensure_ascii=False),
        }
        for line in reversed(session.scalars(wanted).all())
    ]


@app.command("list")
def list_(
    subject: Annotated[UUID | None, typer.Argument(help="Only lines about this invoice, license or account.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List audit lines, oldest first."""
    with reading() as session:
        rows = audit_rows(session, None if subject is None else [subject], limit)
    show_rows(rows, as_json)
