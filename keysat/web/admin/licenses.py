"""Admin routes for licenses and the machines they are used on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from keysat.core.db import reading, transaction
from keysat.licenses.edit import edit_license
from keysat.licenses.machines import deactivate_machine, list_machines
from keysat.licenses.state import require_license
from keysat.models import License
from keysat.models.license import LicenseStatus
from keysat.operations.search import LicenseSearch, find_licenses
from keysat.sales.grant import grant
from keysat.sales.license_changes import change_holder, change_license, give_new_key
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Before, Done, Entitlements, Limit, Machines, Note, NoteText, Releases, Row
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Email, Line, Moment, Slug
from keysat.web.state import signer, signer_id

router = APIRouter(tags=["admin: licenses"])

LicenseId = Annotated[UUID, Path(description="The license's id.")]


class Grant(Note):
    """A license to issue by hand. Without a policy, the product's default applies. `email` is the holder's."""

    product: Slug
    policy: Slug | None = None
    email: Email | None = None


class LicenseChanges(Changes):
    """Changes to a license, with the reason. Fields left out stay unchanged.

    No end = perpetual. Without an address of its own, a license's holder is its buyer.
    """

    expires_at: Moment | None = UNCHANGED
    max_machines: Machines = UNCHANGED
    releases_per_seat: Releases = UNCHANGED
    entitlements: Entitlements = UNCHANGED
    holder_email: Email | None = UNCHANGED
    note: NoteText


class Transfer(Note):
    """The new holder."""

    email: Email


class LicenseRow(Row):
    """A stored license. `max_machines` 0 = unlimited, no `expires_at` = perpetual.

    Without a `holder_email`, its holder is the buyer of its invoice. Keys from before `rotated_at` are refused online.
    """

    id: UUID
    invoice_id: UUID | None
    product_id: UUID
    policy_id: UUID
    status: LicenseStatus | str
    source: str
    is_trial: bool
    max_machines: int
    releases_per_seat: int
    grace_seconds: int
    entitlements: list[str]
    issued_at: datetime
    expires_at: datetime | None
    holder_email: str | None
    rotated_at: datetime | None
    transferred_at: datetime | None


class LicenseDetails(LicenseRow):
    """A license with its key."""

    license_key: str


class MachineRow(Row):
    """A machine. It has a seat until `deactivated_at`."""

    id: UUID
    license_id: UUID
    hostname: str | None
    platform: str | None
    activated_at: datetime
    last_seen_at: datetime
    deactivated_at: datetime | None
    deactivation_reason: str | None
    by_holder: bool


@router.get("/licenses")
def search_licenses(
    _: Reader,
    product: Slug | None = None,
    status: LicenseStatus | None = None,
    invoice_id: UUID | None = None,
    email: Annotated[Line | None, Query(description="The holder's, in any case.")] = None,
    limit: Limit = 50,
    before: Before = None,
) -> list[LicenseRow]:
    """Find licenses, newest first."""
    search = LicenseSearch(product, status, invoice_id, email, before)
    with reading() as session:
        return [LicenseRow.model_validate(row) for row, _product in find_licenses(session, search, limit)]


@router.post("/licenses", status_code=201, responses=documented(404))
def issue_license(body: Grant, actor: Writer) -> LicenseDetails:
    """Issue a license by hand, without an invoice."""
    with transaction() as session:
        row = grant(session, body.product, body.policy, body.note, signer_id(), actor, body.email)
    return _details(row)


@router.get("/licenses/{license_id}", responses=documented(404))
def get_license(license_id: LicenseId, _: Reader) -> LicenseDetails:
    """Get a license with its key."""
    with reading() as session:
        return _details(require_license(session, license_id))


@router.patch("/licenses/{license_id}", responses=documented(404))
def update_license(license_id: LicenseId, body: LicenseChanges, actor: Writer) -> LicenseDetails:
    """Change a license. Its key changes with its end and entitlements. Earlier keys stay valid online."""
    with transaction() as session:
        row = edit_license(session, license_id, body.changes("note"), actor, body.note)
    return _details(row)


@router.post("/licenses/{license_id}/rotate", responses=documented(404, 409))
def rotate_license_key(license_id: LicenseId, body: Note, actor: Writer) -> LicenseDetails:
    """Replace a license's key. Earlier keys are refused online."""
    with transaction() as session:
        row = give_new_key(session, license_id, actor, body.note)
    return _details(row)


@router.post("/licenses/{license_id}/transfer", responses=documented(404, 409))
def transfer(license_id: LicenseId, body: Transfer, actor: Writer) -> LicenseDetails:
    """Give a license to another holder, with a new key and all seats free."""
    with transaction() as session:
        row = change_holder(session, license_id, body.email, actor, body.note)
    return _details(row)


@router.post("/licenses/{license_id}/revoke", responses=documented(404, 409))
def revoke_license(license_id: LicenseId, body: Note, actor: Writer) -> LicenseRow:
    """Revoke a license permanently."""
    return _change(license_id, LicenseStatus.REVOKED, body.note, actor)


@router.post("/licenses/{license_id}/suspend", responses=documented(404, 409))
def suspend_license(license_id: LicenseId, body: Note, actor: Writer) -> LicenseRow:
    """Suspend a license. `unsuspend` lifts the suspension."""
    return _change(license_id, LicenseStatus.SUSPENDED, body.note, actor)


@router.post("/licenses/{license_id}/unsuspend", responses=documented(404, 409))
def unsuspend_license(license_id: LicenseId, body: Note, actor: Writer) -> LicenseRow:
    """Lift a suspension."""
    return _change(license_id, LicenseStatus.ACTIVE, body.note, actor)


@router.get("/licenses/{license_id}/machines", responses=documented(404))
def list_license_machines(
    license_id: LicenseId, _: Reader, limit: Limit = 50, before: Before = None
) -> list[MachineRow]:
    """List the machines of a license, newest first."""
    with reading() as session:
        return [MachineRow.model_validate(row) for row in list_machines(session, license_id, limit, before)]


@router.post("/machines/{machine_id}/deactivate", responses=documented(404, 409))
def free_machine(machine_id: UUID, body: Note, actor: Writer) -> Done:
    """Free a machine's seat."""
    with transaction() as session:
        deactivate_machine(session, machine_id, body.note, actor)
    return Done()


def _change(license_id: UUID, target: LicenseStatus, note: str, actor: str) -> LicenseRow:
    with transaction() as session:
        change_license(session, license_id, target, actor, note)
        return LicenseRow.model_validate(require_license(session, license_id))


def _details(row: License) -> LicenseDetails:
    return LicenseDetails(**LicenseRow.model_validate(row).model_dump(), license_key=signer().key_for(row))
