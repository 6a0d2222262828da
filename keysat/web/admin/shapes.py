"""Shared types of the admin routes: notes, pages, numbers within the range of a column."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from keysat.core.money import MAX_AMOUNT
from keysat.operations.timeline import Moment
from keysat.web.fields import Input, Line, Lines

Limit = Annotated[int, Query(ge=1, le=200, description="At most so many, the newest.")]
Before = Annotated[UUID | None, Query(description="Only what is older than this id: the last one of a page.")]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
Number = Annotated[int, Field(ge=0, le=10**9)]
Machines = Annotated[int, Field(ge=0, le=10**6, description="0 = unlimited.")]
Releases = Annotated[int, Field(ge=0, le=1_000, description="Seats that a holder may free in 30 days, for each seat.")]
Entitlements = Annotated[list[Annotated[Line, Field(min_length=1, max_length=63)]], Field(max_length=255)]
NoteText = Annotated[Lines, Field(min_length=1)]


class Row(BaseModel):
    """Base of responses that are read from a table's row."""

    model_config = ConfigDict(from_attributes=True)


class Note(Input):
    """The reason, for the audit log."""

    note: NoteText


class Happened(Row):
    """One event: who did what to which row, with details."""

    at: datetime
    actor: str
    action: str
    subject_id: UUID
    detail: dict[str, Any]


class Done(BaseModel):
    """The request succeeded."""

    ok: bool = True


def happened(moments: list[Moment]) -> list[Happened]:
    """Convert a timeline for a response."""
    return [Happened.model_validate(moment) for moment in moments]
