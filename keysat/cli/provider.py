"""`keysat provider`: the accounts at payment providers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select

from keysat.cli.connect import connect
from keysat.cli.output import AsJson, Note, say, show_record, show_rows
from keysat.cli.secret_input import read_secret
from keysat.db import reading, transaction
from keysat.models import ProviderAccount
from keysat.providers import accounts
from keysat.providers.registry import kinds, provider_for
from keysat.providers.silence import webhook_state
from keysat.secrets import secret_box
from keysat.settings import load_settings

app = typer.Typer(help="Accounts at payment providers.", no_args_is_help=True)
app.command()(connect)

KeyFile = Annotated[
    Path | None, typer.Option(help="A file with the API key; else KEYSAT_PROVIDER_API_KEY, else stdin.")
]
SecretFile = Annotated[Path | None, typer.Option(help="A file with the webhook secret, of 24 bytes or more.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Your name for it, as 'main'.")],
    url: Annotated[str, typer.Option(help="Where it is, as https://btcpay.example.com; default: its kind's own.")] = "",
    store: Annotated[str, typer.Option(help="The store's id there, where the kind has stores.")] = "",
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(kinds())}.")] = "btcpay",
    api_key_file: KeyFile = None,
    webhook_secret_file: SecretFile = None,
    as_json: AsJson = False,
) -> None:
    """Add an account; its credentials are stored encrypted. Check it with `keysat provider test NAME`."""
    api_key = read_secret("API key", "KEYSAT_PROVIDER_API_KEY", api_key_file)
    secret = read_secret("webhook secret", "", webhook_secret_file) if webhook_secret_file else ""
    with transaction() as session:
        account = accounts.add_account(
            session,
            secret_box(load_settings()),
            name=name,
            kind=kind,
            base_url=url,
            store_id=store,
            api_key=api_key,
            webhook_secret=secret,
        )
    show_record({"id": str(account.id), "name": account.name}, as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the accounts and how they fare."""
    with reading() as session:
        rows = session.scalars(select(ProviderAccount).order_by(ProviderAccount.name)).all()
    show_rows(
        [
            {
                "name": row.name,
                "kind": row.kind,
                "url": row.base_url,
                "store": row.store_id,
                "paused": row.pause_reason,
                "failures": row.failure_count,
                "last_error": row.last_error,
            }
            for row in rows
        ],
        as_json,
    )


@app.command()
def test(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Ask the provider something harmless, to see that address and credentials work, and tell of its webhooks."""
    with reading() as session:
        account = accounts.require_account(session, name)
    provider_for(account).check_credentials()
    say(f"{name}: {account.base_url} answers and accepts the credentials")
    say(f"{name}: {webhook_state(account)}")


@app.command()
def pause(name: Annotated[str, typer.Argument(help="The account's name.")], note: Note = "by hand") -> None:
    """Stop asking for this account's invoices; nothing is lost, they wait."""
    with transaction() as session:
        changed = accounts.pause(session, accounts.require_account(session, name).id, note, "cli")
    say(f"{name} is paused; its invoices wait for `keysat provider resume {name}`" if changed else f"{name} was paused")


@app.command()
def resume(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Ask again, from the next scan on."""
    with transaction() as session:
        accounts.resume(session, name)
    say(f"{name} is asked again from the next scan on")


@app.command()
def renew(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    api_key_file: KeyFile = None,
    webhook_secret_file: SecretFile = None,
) -> None:
    """Replace the credentials and resume the account."""
    api_key = read_secret("API key", "KEYSAT_PROVIDER_API_KEY", api_key_file)
    secret = read_secret("webhook secret", "", webhook_secret_file) if webhook_secret_file else ""
    with transaction() as session:
        accounts.renew_credentials(session, secret_box(load_settings()), name, api_key=api_key, webhook_secret=secret)
    say(f"{name} has new credentials and is asked again from the next scan on")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Remove an account that has no invoices, such as a mistyped one."""
    with transaction() as session:
        accounts.remove_account(session, name)
    say(f"{name} is gone")
