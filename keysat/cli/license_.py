"""`keysat license`: show licenses and their keys, issue them by hand, and withdraw them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from keysat.cli.hints import explained
from keysat.cli.output import AsJson, Note, Row, say, show_record, show_rows
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import InvalidInput, SettingsError
from keysat.core.settings import load_settings
from keysat.licenses.keys import Payload, clean, parse, verify
from keysat.licenses.signer import installed_signer, load_signer
from keysat.licenses.state import require_license
from keysat.licenses.withdraw import change_status
from keysat.models import License
from keysat.models.license import LicenseStatus
from keysat.operations.search import LicenseSearch, find_licenses
from keysat.sales.grant import grant

app = typer.Typer(help="Licenses.", no_args_is_help=True)

LicenseId = Annotated[UUID, typer.Argument(metavar="LICENSE", help="The license's id.")]


def license_record(row: License) -> Row:
    """Convert a license to a record for printing, with its key if the signing key is available."""
    try:
        key = installed_signer(DATABASE).key_for(row)
    except SettingsError as error:
        say(f"the license key can't be shown: {explained(error)}")
        key = None
    return {
        "license_id": str(row.id),
        "invoice_id": None if row.invoice_id is None else str(row.invoice_id),
        "status": row.status,
        "issued": row.issued_at,
        "expires": row.expires_at,
        "machines": row.max_machines or "unlimited",
        "trial": row.is_trial,
        "entitlements": row.entitlements,
        "key": key,
    }


@app.command("list")
def list_(
    status: Annotated[LicenseStatus | None, typer.Option(help="Only of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List licenses, newest first."""
    with reading() as session:
        rows = find_licenses(session, LicenseSearch(status=status), limit)
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
    policy: Annotated[str | None, typer.Option(help="The policy's slug; default: the product's oldest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a license by hand, without an invoice."""
    signer = installed_signer(DATABASE)
    with transaction() as session:
        row = grant(session, product, policy, note, signer.key_id, "cli")
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
        change_status(session, license_id, target, "cli", note)
    say(f"license {license_id} is {target}")


@app.command("verify")
def verify_(
    key: Annotated[str, typer.Argument(help="The license key, LIC1-...")],
    public_key: Annotated[
        str | None, typer.Option(help="A PEM file, or the base64 inside one; default: this installation's own key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a key's signature offline, without the database. Exit 1 if it is wrong."""
    trusted = (
        load_signer(load_settings().signing_key_file).public_key if public_key is None else _read_public_key(public_key)
    )
    payload = verify(clean(key), trusted)
    show_record(_describe(payload), as_json)
    say("the signature is good")


@app.command()
def inspect(key: Annotated[str, typer.Argument(help="The license key, LIC1-...")], as_json: AsJson = False) -> None:
    """Show the contents of a key, without checking its signature."""
    show_record(_describe(parse(clean(key))), as_json)


def _describe(payload: Payload) -> Row:
    return {
        "license_id": str(payload.license_id),
        "product_id": str(payload.product_id),
        "version": payload.version,
        "issued": _time(payload.issued_at),
        "expires": None if payload.expires_at is None else _time(payload.expires_at),
        "trial": payload.is_trial,
        "fingerprint_sha256": None if payload.fingerprint_hash is None else payload.fingerprint_hash.hex(),
        "entitlements": list(payload.entitlements),
    }


def _time(seconds: int) -> datetime | str:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _read_public_key(text: str) -> Ed25519PublicKey:
    try:
        path = Path(text)
        key = load_pem_public_key(path.read_bytes()) if path.exists() else load_der_public_key(base64.b64decode(text))
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput(f"{text} is no Ed25519 public key; `keysat key show` prints ours.")
    return key
