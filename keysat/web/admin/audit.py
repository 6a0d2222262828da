"""Admin routes for the audit log."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from keysat.core.db import reading
from keysat.operations.timeline import audit_lines
from keysat.web.admin.auth import Reader
from keysat.web.admin.shapes import Happened, Limit
from keysat.web.errors import documented

router = APIRouter(prefix="/audit", tags=["admin: audit"])

BeforeLine = Annotated[
    int | None, Query(ge=1, le=2**63 - 1, description="Only lines older than this id: the last one of a page.")
]


class AuditEntry(Happened):
    """A line of the audit log. Ids increase."""

    id: int


@router.get("", responses=documented())
def list_audit(
    _: Reader,
    subject: Annotated[UUID | None, Query(description="Only lines about this row.")] = None,
    limit: Limit = 50,
    before: BeforeLine = None,
) -> list[AuditEntry]:
    """List who changed what, when and why, newest first."""
    with reading() as session:
        lines = audit_lines(session, None if subject is None else [subject], limit, before)
    return [AuditEntry.model_validate(line) for line in lines]
