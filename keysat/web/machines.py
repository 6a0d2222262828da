"""Machines: programs that run on them take and free a license's seats."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from keysat.core.db import DATABASE
from keysat.licenses import machines
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


def _response(verdict: Verdict) -> MachineResponse:
    return MachineResponse(
        ok=verdict.reason is None,
        reason=verdict.reason,
        machine_id=verdict.machine_id,
        active_count=verdict.active_count,
        max_machines=verdict.license_state and verdict.license_state.max_machines,
    )
