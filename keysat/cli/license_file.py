"""`keysat license file`: sign a license file or a machine file, for a machine without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, replace_file, say, show_record
from keysat.core.db import DATABASE, reading
from keysat.licenses.files import DEFAULT_TTL, MAX_TTL, sign_file
from keysat.licenses.seats import Caller
from keysat.licenses.signer import installed_signer
from keysat.licenses.state import require_license

_DAY = 86_400


def file(
    license_id: Annotated[UUID, typer.Argument(metavar="LICENSE", help="The license's id.")],
    fingerprint: Annotated[
        str | None, typer.Option(help="The fingerprint of a machine with a seat, for a machine file.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_TTL // _DAY, help="Days that it is valid.")] = DEFAULT_TTL // _DAY,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write this file; default: print it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a license file, or a machine file for one machine, for programs without a network.

    It says what the license is now, and is valid for the days given, or until the license ends.
    """
    signer = installed_signer(DATABASE)
    fingerprint_hash = None if fingerprint is None else Caller.of(fingerprint).fingerprint_hash
    with reading() as session:
        row = require_license(session, license_id)
        made = sign_file(session, signer, row, days * _DAY, fingerprint_hash, fingerprint)
    facts = {"issued": made.issued, "expires": made.expiry}
    if out is not None:
        replace_file(out, made.text)
        show_record({"file": str(out), **facts}, as_json)
    elif as_json:
        show_record({"certificate": made.text, **facts}, as_json)
    else:
        print(made.text, end="")
        say(f"valid until {made.expiry:%Y-%m-%d %H:%M:%S}Z")
