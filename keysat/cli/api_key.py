"""`keysat api-key`: keys of the admin API."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from keysat.cli.output import AsJson, say, show_rows
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key, list_keys, revoke_key, rotate_key

app = typer.Typer(help="Keys of the admin API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Your name for the key, as 'shop'.")]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command()
def create(name: Name, scope: Annotated[Scope, typer.Option(help="What it allows.")] = Scope.READ) -> None:
    """Create a key and print it, only this once."""
    with transaction() as session:
        key = create_key(session, name, scope, actor="cli")
    say(f"the key {name} ({scope}); it is stored nowhere, so keep it now:")
    print(key)


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[str, typer.Option(help="How long the old key works still, as 30m, 24h or 7d.")] = "24h",
) -> None:
    """Create a new key of the same name and scope and print it. The old one still works during the overlap."""
    with transaction() as session:
        key = rotate_key(session, name, _duration(overlap), actor="cli")
    say(f"the new key {name}; the old one works for {overlap} still:")
    print(key)


@app.command()
def revoke(name: Name) -> None:
    """Revoke all keys of that name."""
    with transaction() as session:
        revoke_key(session, name, actor="cli")
    say(f"{name} works no more")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys, newest first."""
    with reading() as session:
        rows = list_keys(session)
    show_rows(
        [
            {
                "name": key.name,
                "scope": key.scope,
                "works": works,
                "created": key.created_at,
                "last_used": key.last_used_at,
                "expires": key.expires_at,
            }
            for key, works in rows
        ],
        as_json,
    )


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,4})([mhd])", text.strip())
    if found is None:
        raise InvalidInput(f"duration {text[:20]!r} must be like 30m, 24h or 7d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
