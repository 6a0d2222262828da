"""Machines: programs that run on them take and free a license's seats, and a key's holder frees those of others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from keysat.core.db import DATABASE
from keysat.licenses import machines
from keysat.licenses.releases import Seats, list_seats, release_seat
from keysat.licenses.seats import Caller
from keysat.licenses.state import Reason, Verdict
from keysat.web.errors import documented
from keysat.web.fields import Fingerprint, HostText, KeyText, Line, PublicInput
from keysat.web.limits import limit_validations
from keysat.web.state import read_key

router = APIRouter(
    prefix="/v1/machines", tags=["machines"], responses=documented(), dependencies=[Depends(limit_validations)]
)


class MachineRequest(PublicInput):
    """A key and the machine it is used on. `reason` is the reason for a deactivation."""

    key: KeyText
    fingerprint: Fingerprint
    hostname: HostText | None = None
    platform: HostText | None = None
    reason: Line | None = None

    @property
    def caller(self) -> Caller:
        return Caller.of(self.fingerprint, self.hostname, self.platform)


class MachineResponse(BaseModel):
    """Whether the request succeeded, otherwise the reason. `max_machines` 0 = unlimited."""

    ok: bool
    reason: Reason | None = None
    machine_id: UUID | None = None
    active_count: int | None = None
    max_machines: int | None = None


class HolderRequest(PublicInput):
    """A key, which shows and frees the seats of its license. `reason` is the reason for a deactivation."""

    key: KeyText
    reason: Line | None = None


class SeatRow(BaseModel):
    """A machine that has a seat, with the names that its program reported."""

    model_config = ConfigDict(from_attributes=True)

    machine_id: Annotated[UUID, Field(validation_alias="id")]
    hostname: str | None
    platform: str | None
    activated_at: datetime
    last_seen_at: datetime


class SeatsResponse(BaseModel):
    """Whether the request succeeded, otherwise the reason, and the license's seats if it was found.

    `max_machines` 0 = unlimited. `releases_left` is how many seats the key's holder may free now. Without it, any
    number.
    """

    ok: bool
    reason: Reason | None = None
    machines: list[SeatRow] | None = None
    active_count: int | None = None
    max_machines: int | None = None
    releases_left: int | None = None


@router.post("/activate", response_model_exclude_none=True)
def activate(body: MachineRequest) -> MachineResponse:
    """Take a seat for a machine. A machine that has a seat keeps it."""
    return _response(machines.activate(DATABASE, read_key, body.key, body.caller))


@router.post("/heartbeat", response_model_exclude_none=True)
def heartbeat(body: MachineRequest) -> MachineResponse:
    """Report that a machine is still in use. `not_found` if it has no seat."""
    return _response(machines.heartbeat(DATABASE, read_key, body.key, body.caller))


@router.post("/deactivate", response_model_exclude_none=True)
def deactivate(body: MachineRequest) -> MachineResponse:
    """Free a machine's seat, even if the license is no longer valid. `not_found` if it has none."""
    return _response(machines.deactivate(DATABASE, read_key, body.key, body.caller, body.reason))


@router.post("/list", response_model_exclude_none=True)
def list_machines(body: HolderRequest) -> SeatsResponse:
    """List the machines that have a seat, oldest first, even if the license is no longer valid."""
    return _seats(list_seats(DATABASE, read_key, body.key))


@router.post("/{machine_id}/deactivate", response_model_exclude_none=True)
def release(
    machine_id: Annotated[UUID, Path(description="The machine's id, as listed.")], body: HolderRequest
) -> SeatsResponse:
    """Free the seat of any machine of the license, for example of a lost one. The response has the remaining seats.

    `too_many_releases` if the holder freed as many in the last 30 days as the license allows.
    """
    return _seats(release_seat(DATABASE, read_key, body.key, machine_id, body.reason))


def _seats(seats: Seats) -> SeatsResponse:
    machines = None if seats.machines is None else [SeatRow.model_validate(machine) for machine in seats.machines]
    return SeatsResponse(
        ok=seats.reason is None,
        reason=seats.reason,
        machines=machines,
        active_count=None if machines is None else len(machines),
        max_machines=seats.max_machines,
        releases_left=seats.releases_left,
    )


def _response(verdict: Verdict) -> MachineResponse:
    return MachineResponse(
        ok=verdict.reason is None,
        reason=verdict.reason,
        machine_id=verdict.machine_id,
        active_count=verdict.active_count,
        max_machines=verdict.license_state and verdict.license_state.max_machines,
    )
