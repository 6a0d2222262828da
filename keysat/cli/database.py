"""`keysat db`: the schema."""

from __future__ import annotations

import typer

from keysat import migrations
from keysat.cli.output import AsJson, say, show_record
from keysat.db import database_name

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the schema to the one this version needs; safe to run at any time, from several places."""
    before, after = migrations.upgrade()
    say(f"{database_name()}: {before or 'empty'} -> {after}" if before != after else f"{database_name()} is at {after}")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Show the schema's revision and the one this version needs."""
    show_record({"database": database_name(), "found": migrations.current(), "needed": migrations.head()}, as_json)


@app.command()
def check() -> None:
    """Compare the schema with the declared one; exit 3 when they differ."""
    migrations.require_head()
    differences = migrations.differences()
    for line in differences:
        print(line)
    if differences:
        raise typer.Exit(3)
    say(f"{database_name()} is as declared at {migrations.head()}")
