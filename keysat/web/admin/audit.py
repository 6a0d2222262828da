"""The audit log."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from keysat.db import reading
from keysat.timeline import audit_lines
from keysat.web.admin.auth import Reader
from keysat.web.admin.shapes import Happened, Limit, happened

router = APIRouter(prefix="/audit", tags=["admin: audit"])


@router.get("")
def list_audit(
    _: Reader,
    subject: Annotated[UUID | None, Query(description="Only lines about this row.")] = None,
    limit: Limit = 50,
) -> list[Happened]:
    """List who changed what, when and why, oldest first."""
    with reading() as session:
        return happened(audit_lines(session, None if subject is None else [subject], limit))
