"""`keysat status-list`: sign what changed since keys were issued, for a static host, a mirror or a USB stick."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from keysat.cli.output import AsJson, Row, replace_file, say, show_record
from keysat.core.db import DATABASE, transaction
from keysat.licenses.published import LIFETIME, issue_list
from keysat.licenses.signer import installed_signer
from keysat.models import StatusList


def status_list(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Replace this file at once; default: print the list.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days that it is valid.")] = LIFETIME.days,
    as_json: AsJson = False,
) -> None:
    """Sign the list of licenses that were withdrawn or extended, or got a new key, for programs without a network.

    Each call issues a newer list than all before. GET /v1/status-list serves it, too, as long as it is right.
    """
    signer = installed_signer(DATABASE)
    with transaction() as session:
        row = issue_list(session, signer, timedelta(days=days))
    if out is None:
        print(row.body)
        licenses = "1 license" if row.entries == 1 else f"{row.entries} licenses"
        say(f"list {row.sequence} has {licenses} and is valid until {row.expires_at:%Y-%m-%d %H:%M:%S}Z")
    else:
        replace_file(out, f"{row.body}\n")
        show_record(_record(row, out), as_json)


def _record(row: StatusList, out: Path) -> Row:
    return {
        "file": str(out),
        "bytes": len(row.body) + 1,
        "licenses": row.entries,
        "epoch": row.epoch,
        "sequence": row.sequence,
        "issued": row.issued_at,
        "expires": row.expires_at,
    }
