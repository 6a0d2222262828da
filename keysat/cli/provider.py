"""`keysat provider`: the accounts at payment providers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from keysat.accounts import checked, manage
from keysat.accounts.selling import sell_with
from keysat.accounts.webhook_health import webhook_state
from keysat.cli.connect import connect
from keysat.cli.hints import explained
from keysat.cli.output import AsJson, Note, say, show_record, show_rows
from keysat.cli.secret_input import read_secret, read_text
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import InvalidInput, RemoteError
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.providers.registry import kinds

app = typer.Typer(help="Accounts at payment providers.", no_args_is_help=True)
app.command()(connect)

KeyFile = Annotated[
    Path | None, typer.Option(help="A file with the API key; else KEYSAT_PROVIDER_API_KEY, else stdin.")
]
SecretFile = Annotated[Path | None, typer.Option(help="A file with the webhook secret, of 24 bytes or more.")]


Sandbox = Annotated[
    bool | None,
    typer.Option("--sandbox/--real", help="Whether its coins are pretended; default: on this machine."),
]
CaFile = Annotated[Path | None, typer.Option(help="PEM certificates of an authority to trust for its server.")]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Store it without checking the key at the provider.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Your name for it, as 'main'.")],
    url: Annotated[str, typer.Option(help="Where it is, as https://btcpay.example.com; default: its kind's own.")] = "",
    store: Annotated[str, typer.Option(help="The store's id there, where the kind has stores.")] = "",
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(kinds())}.")] = "btcpay",
    api_key_file: KeyFile = None,
    webhook_secret_file: SecretFile = None,
    sandbox: Sandbox = None,
    ca_file: CaFile = None,
    unchecked: Unchecked = False,
    as_json: AsJson = False,
) -> None:
    """Add an account whose key the provider accepts. Its credentials are stored encrypted."""
    api_key = read_secret("API key", "KEYSAT_PROVIDER_API_KEY", api_key_file)
    secret = read_secret("webhook secret", "", webhook_secret_file) if webhook_secret_file else ""
    box, pem = secret_box(load_settings()), read_text("certificates", ca_file) if ca_file else None
    new = manage.NewAccount(name, kind, api_key, url, store, secret, sandbox, pem)
    with _nothing_stored_if_refused():
        account = checked.check_and_add(DATABASE, box, new, "cli", unchecked=unchecked)
    if account.selling_rank is None:
        say(f"{name} sells nothing yet: `keysat provider sell {name}`, or `product edit PRODUCT --account {name}`")
    show_record({"id": str(account.id), "name": account.name}, as_json)


@app.command()
def edit(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    new_name: Annotated[str | None, typer.Option("--name", help="Your new name for it.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the provider is now.")] = None,
    store: Annotated[str | None, typer.Option(help="The store's id there.")] = None,
    sandbox: Sandbox = None,
    ca_file: CaFile = None,
    no_ca: Annotated[bool, typer.Option("--no-ca", help="Trust the system's authorities alone.")] = False,
    unchecked: Unchecked = False,
) -> None:
    """Change an account, once its key is accepted at the new address. Its invoices stay bound to it."""
    pem = "" if no_ca else read_text("certificates", ca_file) if ca_file else None
    given = {"name": new_name, "base_url": url, "store_id": store, "is_sandbox": sandbox, "ca_pem": pem}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise InvalidInput("say what to change: --name, --url, --store, --sandbox, --ca-file.")
    with _nothing_stored_if_refused():
        account = checked.check_and_edit(DATABASE, name, changes, "cli", unchecked=unchecked)
    say(f"{account.name} is changed: {', '.join(sorted(changes))}")
    if url is not None:
        say(f"if its webhooks come from another server now: `keysat provider connect {account.name}`")


@app.command()
def sell(
    names: Annotated[list[str], typer.Argument(help="The accounts that sell; each one after the first is a fallback.")],
) -> None:
    """Set the account that sells, and its fallbacks. Any other account sells only if a product names it."""
    with transaction() as session:
        sell_with(session, names, "cli")
    say(f"{names[0]} sells" + (f"; where it can't, {', '.join(names[1:])}" if names[1:] else ""))


@contextmanager
def _nothing_stored_if_refused() -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        say("nothing was stored; --unchecked stores it all the same")
        raise error from None


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the accounts and their health."""
    with reading() as session:
        rows = manage.list_accounts(session)
    show_rows(
        [
            {
                "name": row.name,
                "kind": row.kind,
                "url": row.base_url,
                "store": row.store_id,
                "sells": row.selling_rank,
                "sandbox": row.is_sandbox,
                "paused": row.pause_reason,
                "failures": row.failure_count,
                "last_error": row.last_error or row.create_last_error,
            }
            for row in rows
        ],
        as_json,
    )


@app.command()
def test(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Check address and credentials with a harmless request to the provider, and report on its webhooks."""
    account = checked.check_account(DATABASE, name)
    say(f"{name}: {account.base_url} responds and accepts the credentials")
    say(f"{name}: {explained(webhook_state(account))}")


@app.command()
def pause(name: Annotated[str, typer.Argument(help="The account's name.")], note: Note = "by hand") -> None:
    """Stop checking this account's invoices. Nothing is lost, they wait."""
    with transaction() as session:
        changed = manage.pause(session, manage.require_account(session, name).id, note, "cli")
    say(f"{name} is paused; its invoices wait for `keysat provider resume {name}`" if changed else f"{name} was paused")


@app.command()
def resume(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Check this account's invoices again from the next scan on."""
    with transaction() as session:
        manage.resume(session, name, actor="cli")
    say(f"{name} is checked again from the next scan on")


@app.command()
def renew(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    api_key_file: KeyFile = None,
    webhook_secret_file: SecretFile = None,
    unchecked: Unchecked = False,
) -> None:
    """Replace the credentials, once the provider accepts them, and resume the account."""
    api_key = read_secret("API key", "KEYSAT_PROVIDER_API_KEY", api_key_file)
    secret = read_secret("webhook secret", "", webhook_secret_file) if webhook_secret_file else ""
    box = secret_box(load_settings())
    with _nothing_stored_if_refused():
        checked.check_and_renew(DATABASE, box, name, api_key, secret, "cli", unchecked=unchecked)
    say(f"{name} has new credentials and is checked again from the next scan on")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The account's name.")]) -> None:
    """Remove an account that has no invoices, such as a mistyped one."""
    with transaction() as session:
        manage.remove_account(session, name, actor="cli")
    say(f"{name} is gone")
