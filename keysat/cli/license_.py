"""`keysat license`: show licenses and their keys, issue them by hand, and withdraw them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli import license_file, license_key
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, Note, Row, say, show_record, show_rows
from keysat.cli.when import parse_when
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import Conflict, InvalidInput, SettingsError
from keysat.core.settings import load_settings
from keysat.licenses.edit import edit_license
from keysat.licenses.signer import installed_signer
from keysat.licenses.state import require_license
from keysat.models import License
from keysat.models.holders import holder_email
from keysat.models.license import LicenseStatus
from keysat.operations.search import LicenseSearch, find_licenses
from keysat.sales.grant import grant
from keysat.sales.license_changes import change_holder, change_license, give_new_key
from keysat.sales.recover import make_link

app = typer.Typer(help="Licenses.", no_args_is_help=True)

LicenseId = Annotated[UUID, typer.Argument(metavar="LICENSE", help="The license's id.")]


def license_record(row: License) -> Row:
    """Convert a license to a record for printing, with its key if the signing key is available."""
    try:
        key = installed_signer(DATABASE).key_for(row)
    except SettingsError as error:
        say(f"the license key can't be shown: {explained(error)}")
        key = None
    with reading() as session:
        holder = holder_email(session, row)
    return {
        "license_id": str(row.id),
        "invoice_id": None if row.invoice_id is None else str(row.invoice_id),
        "status": row.status,
        "issued": row.issued_at,
        "expires": row.expires_at,
        "holder": holder,
        "rotated": row.rotated_at,
        "transferred": row.transferred_at,
        "machines": row.max_machines or "unlimited",
        "trial": row.is_trial,
        "entitlements": row.entitlements,
        "key": key,
    }


@app.command("list")
def list_(
    status: Annotated[LicenseStatus | None, typer.Option(help="Only of this status.")] = None,
    email: Annotated[str | None, typer.Option(help="Only of this holder.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List licenses, newest first."""
    with reading() as session:
        rows = find_licenses(session, LicenseSearch(status=status, email=email), limit)
    show_rows(
        [
            {
                "id": str(row.id),
                "product": product,
                "status": row.status,
                "issued": row.issued_at,
                "expires": row.expires_at,
                "invoice_id": row.invoice_id and str(row.invoice_id),
            }
            for row, product in rows
        ],
        as_json,
    )


@app.command()
def show(license_id: LicenseId, as_json: AsJson = False) -> None:
    """Show a license and its key."""
    with reading() as session:
        row = require_license(session, license_id)
    show_record(license_record(row), as_json)


@app.command()
def issue(
    product: Annotated[str, typer.Argument(help="The product's slug.")],
    note: Note,
    policy: Annotated[str | None, typer.Option(help="The policy's slug; default: the product's first.")] = None,
    email: Annotated[str | None, typer.Option(help="The holder's address.")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a license by hand, without an invoice."""
    signer = installed_signer(DATABASE)
    with transaction() as session:
        row = grant(session, product, policy, note, signer.key_id, "cli", email)
    show_record(license_record(row), as_json)


@app.command()
def suspend(license_id: LicenseId, note: Note) -> None:
    """Suspend a license. `unsuspend` lifts the suspension."""
    _change(license_id, LicenseStatus.SUSPENDED, note)


@app.command()
def unsuspend(license_id: LicenseId, note: Note) -> None:
    """Lift a suspension."""
    _change(license_id, LicenseStatus.ACTIVE, note)


@app.command()
def revoke(license_id: LicenseId, note: Note) -> None:
    """Revoke a license permanently."""
    _change(license_id, LicenseStatus.REVOKED, note)


def _change(license_id: UUID, target: LicenseStatus, note: str) -> None:
    with transaction() as session:
        change_license(session, license_id, target, "cli", note)
    say(f"license {license_id} is {target}")


@app.command()
def edit(
    license_id: LicenseId,
    note: Note,
    until: Annotated[
        str | None, typer.Option(help="Its end, as 2027-06-30 or 2027-06-30T14:00; '' = perpetual.")
    ] = None,
    machines: Annotated[int | None, typer.Option(min=0, help="Seats; 0 = unlimited.")] = None,
    seat_releases: Annotated[
        int | None, typer.Option(min=0, max=1_000, help="Seats that the holder may free in 30 days, for each seat.")
    ] = None,
    entitlement: Annotated[
        list[str] | None, typer.Option(help="All features it unlocks; repeatable; '' takes them back.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="The holder's address; '' = the buyer's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change an issued license. Its key changes with its end and features, and earlier keys stay valid online."""
    given: dict[str, object] = {
        "max_machines": machines,
        "releases_per_seat": seat_releases,
        "entitlements": None if entitlement is None else [slug for slug in entitlement if slug],
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if until is not None:
        changes["expires_at"] = parse_when(until) if until.strip() else None
    if email is not None:
        changes["holder_email"] = email.strip() or None
    if not changes:
        raise InvalidInput("say what to change; `--help` lists it.")
    with transaction() as session:
        row = edit_license(session, license_id, changes, "cli", note)
    show_record(license_record(row), as_json)


@app.command()
def rotate(license_id: LicenseId, note: Note, as_json: AsJson = False) -> None:
    """Replace a license's key, as after a leak. Earlier keys are refused online from now on."""
    with transaction() as session:
        row = give_new_key(session, license_id, "cli", note)
    show_record(license_record(row), as_json)


@app.command()
def transfer(
    license_id: LicenseId,
    email: Annotated[str, typer.Argument(help="The new holder's address.")],
    note: Note,
    as_json: AsJson = False,
) -> None:
    """Give a license to another holder, with a new key and all seats free."""
    with transaction() as session:
        row = change_holder(session, license_id, email, "cli", note)
    show_record(license_record(row), as_json)


@app.command()
def link(email: Annotated[str, typer.Argument(help="The holder's address.")], as_json: AsJson = False) -> None:
    """Print a link to send to a holder who lost keys. It shows all of them, once, within 30 minutes.

    POST /v1/recover/link takes its secret, too.
    """
    with transaction() as session:
        made = make_link(session, email, "cli")
    if made is None:
        raise Conflict(f"{email} holds no license.")
    show_record({"link": f"{load_settings().url}/recover/{made.secret}", "secret": made.secret}, as_json)


app.command("verify")(license_key.verify_)
app.command("inspect")(license_key.inspect)
app.command("file")(license_file.file)
