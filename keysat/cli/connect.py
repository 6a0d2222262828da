"""`keysat provider connect`: register for the provider's webhooks and check that one arrives."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from keysat.accounts import connect as connecting
from keysat.accounts.manage import require_account
from keysat.cli.hints import explained
from keysat.cli.output import say
from keysat.core.db import DATABASE, reading
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings

_POLL_SECONDS = 0.2


def connect(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Replace the webhook secret, too.")] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for a webhook.")] = 30,
) -> None:
    """Register for the provider's webhooks and check that one arrives. Prints the webhook's URL."""
    settings = load_settings()
    with reading() as session:
        provider_url = require_account(session, name).base_url
    doubt = connecting.doubt(settings.url, provider_url)
    if doubt is not None:
        say(f"careful: {explained(doubt)}")
    connection = connecting.connect(
        DATABASE, secret_box(settings), name, settings.url, new_secret=new_secret, actor="cli"
    )
    print(connection.url, flush=True)
    if connection.needless:
        say(f"{name}: nothing needs registering, since each invoice carries this URL; the first payment calls it")
        return
    if connection.url_is_secret:
        say("this URL is secret: who knows it can pretend to be the provider")
    test_invoice = None
    if connection.by_hand is not None:
        say(connection.by_hand)
    else:
        test_invoice = connecting.make_test_invoice(connection.account)
        say(f"registered at {provider_url}; invoice {test_invoice} was created there as a test; don't pay it")
    say(f"waiting up to {wait:g} s for a webhook ...")
    if not _arrives(connection, test_invoice, wait):
        raise connecting.NoWebhookCame(connection, settings.url, wait)
    say(f"{name}: a webhook arrived; payments are reported by webhook from now on")


def _arrives(connection: connecting.Connection, test_invoice: str | None, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with reading() as session:
            if connecting.has_arrived(session, connection, test_invoice):
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
