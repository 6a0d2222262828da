"""`keysat db`: the schema."""

from __future__ import annotations

import typer

from keysat import migrations
from keysat.cli.output import AsJson, say, show_record
from keysat.core.db import database_name, transaction
from keysat.models.epoch import declare_restore, notice_restore

_SET_APART = "the database was restored: tips of earlier sales wait for a person (`keysat tip list --status held`)"

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Migrate the schema to the one this version needs. Safe to run at any time, also concurrently."""
    before, after = migrations.upgrade()
    with transaction() as session:
        restored = notice_restore(session)
    say(f"{database_name()}: {before or 'empty'} -> {after}" if before != after else f"{database_name()} is at {after}")
    if restored:
        say(_SET_APART)


@app.command()
def restored() -> None:
    """Declare that the database was restored from a backup: tips of earlier sales wait for a person. Safe to repeat."""
    migrations.require_head()
    with transaction() as session:
        found = notice_restore(session) or declare_restore(session)
    say(_SET_APART if found else "nothing here is older than a restore that isn't known already")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Show the schema's revision and the one this version needs."""
    show_record({"database": database_name(), "found": migrations.current(), "needed": migrations.head()}, as_json)


@app.command()
def check() -> None:
    """Compare the schema with the declared one. Exit 3 if they differ."""
    migrations.require_head()
    differences = migrations.differences()
    for line in differences:
        print(line)
    if differences:
        raise typer.Exit(3)
    say(f"{database_name()} is as declared at {migrations.head()}")
