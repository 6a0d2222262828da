"""`keysat key`: the signing key, and the key that encrypts stored credentials."""

from __future__ import annotations

import typer

from keysat.cli.output import AsJson, say, show_record
from keysat.db import reading
from keysat.embedded.prepare import create_missing_keys
from keysat.errors import DatabaseUnavailable, SchemaMissing
from keysat.licenses.signer import SigningKeyExists, SigningKeyMissing, check_signer, load_signer
from keysat.settings import Settings, load_settings

app = typer.Typer(help="The keys that sign licenses and encrypt credentials.", no_args_is_help=True)


@app.command()
def init() -> None:
    """Create the keys, readable by their owner only; existing ones are never replaced. Back them up."""
    settings = load_settings()
    if not settings.signing_key_file.exists():
        _refuse_where_licenses_exist(settings)
    created = create_missing_keys(settings)
    if not created:
        raise SigningKeyExists(settings.signing_key_file)
    for what in created:
        say(f"created {what}; back it up: without it, nothing it made can be used")


def _refuse_where_licenses_exist(settings: Settings) -> None:
    try:
        with reading() as session:
            check_signer(session, settings.signing_key_file)
    except SigningKeyMissing as error:
        if error.licensed:
            raise
    except (DatabaseUnavailable, SchemaMissing):
        say("the database can't be asked for licenses; if there are any, restore the key that signed them instead")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Print the public key that buyers' programs verify licenses with."""
    signer = load_signer(load_settings().signing_key_file)
    if as_json:
        show_record({"key_id": signer.key_id, "public_key_pem": signer.public_key_pem}, as_json)
    else:
        print(signer.public_key_pem, end="")
