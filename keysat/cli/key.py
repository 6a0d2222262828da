"""`keysat key`: the signing key, and the key that encrypts stored credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from keysat.cli.output import AsJson, say, show_record
from keysat.core.db import reading
from keysat.core.errors import DatabaseUnavailable, SchemaMissing
from keysat.core.settings import Settings, load_settings
from keysat.embedded.prepare import check_secrets_key, create_missing_keys
from keysat.licenses.signer import SigningKeyExists, SigningKeyMissing, check_signer, load_signer

app = typer.Typer(help="The keys that sign licenses and encrypt credentials.", no_args_is_help=True)


@app.command()
def init(
    credentials_lost: Annotated[
        bool,
        typer.Option("--credentials-lost", help="Make a new key for credentials though the stored ones need the old."),
    ] = False,
) -> None:
    """Create the keys, readable by their owner only. Existing ones are never replaced. Back them up."""
    settings = load_settings()
    _refuse_where_old_keys_are_needed(settings, credentials_lost=credentials_lost)
    created = create_missing_keys(settings)
    if not created:
        raise SigningKeyExists(settings.signing_key_file)
    for what in created:
        say(f"created {what}; back it up: without it, nothing it made can be used")


def _refuse_where_old_keys_are_needed(settings: Settings, *, credentials_lost: bool) -> None:
    if settings.signing_key_file.exists() and (settings.secrets_key or settings.secrets_key_file.exists()):
        return
    try:
        with reading() as session:
            if not credentials_lost:
                check_secrets_key(session, settings)
            if not settings.signing_key_file.exists():
                check_signer(session, settings.signing_key_file)
    except SigningKeyMissing as error:
        if error.licensed:
            raise
    except (DatabaseUnavailable, SchemaMissing):
        say("the database can't be reached to find data of older keys; if there is any, restore those keys instead")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Print the public key with which buyers' programs verify licenses."""
    signer = load_signer(load_settings().signing_key_file)
    if as_json:
        show_record({"key_id": signer.key_id, "public_key_pem": signer.public_key_pem}, as_json)
    else:
        print(signer.public_key_pem, end="")
