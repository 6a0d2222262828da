"""Admin route for the status of the installation."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from keysat.core.db import reading
from keysat.core.settings import load_settings
from keysat.operations.status import read_status
from keysat.web.admin.auth import Reader

router = APIRouter(tags=["admin: status"])


class Status(BaseModel):
    """The status, as `keysat status` shows it. `trouble`: something waits for a person.

    `breaches` are sentences about violated invariants, each with its remedy.
    """

    trouble: bool
    pending: int
    due: int
    late: int
    review: int
    unfulfilled: int
    overdue_licenses: int
    failing: int
    abandoned: int
    silent_webhooks: list[str]
    breaches: list[str]
    dead_letters: int
    failed_tips: int
    held_tips: int
    versions: dict[str, str]


@router.get("/status")
def status(_: Reader) -> Status:
    """Get the status: the backlog, violated invariants, and what failed for good."""
    with reading() as session:
        found = read_status(session, load_settings().scan_seconds)
    backlog = found.backlog
    return Status(
        trouble=found.trouble,
        pending=backlog.pending,
        due=backlog.due,
        late=backlog.late,
        review=backlog.review,
        unfulfilled=backlog.unfulfilled,
        overdue_licenses=backlog.overdue_licenses,
        failing=backlog.failing,
        abandoned=backlog.abandoned,
        silent_webhooks=[webhooks_missing.account for webhooks_missing in found.silent],
        breaches=[*map(str, found.breaches)],
        dead_letters=found.dead_letters,
        failed_tips=found.failed_tips,
        held_tips=found.held_tips,
        versions=found.versions.__dict__,
    )
