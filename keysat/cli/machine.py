"""`keysat machine`: list the machines of a license, and free a seat."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, Note, say, show_rows
from keysat.core.db import reading, transaction
from keysat.licenses.machines import deactivate_machine, list_machines

app = typer.Typer(help="Machines: where licenses are in use.", no_args_is_help=True)


@app.command("list")
def list_(
    license_id: Annotated[UUID, typer.Argument(metavar="LICENSE", help="The license's id.")], as_json: AsJson = False
) -> None:
    """List the machines of a license, including deactivated ones, oldest first."""
    with reading() as session:
        rows = list_machines(session, license_id)[::-1]
    show_rows(
        [
            {
                "id": str(row.id),
                "active": not row.deactivated,
                "hostname": row.hostname,
                "platform": row.platform,
                "activated": row.activated_at,
                "last_seen": row.last_seen_at,
                "deactivated": row.deactivated_at,
                "reason": row.deactivation_reason,
                "by_holder": row.by_holder,
            }
            for row in rows
        ],
        as_json,
    )


@app.command()
def deactivate(
    machine_id: Annotated[UUID, typer.Argument(metavar="MACHINE", help="The machine's id.")], note: Note
) -> None:
    """Free a machine's seat. Its program takes one again at its next request, if one is free."""
    with transaction() as session:
        deactivate_machine(session, machine_id, note, "cli")
    say(f"machine {machine_id} is deactivated")
