"""`keysat webhook`: send events to your own programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keysat.cli import delivery
from keysat.cli.listen import listen
from keysat.cli.output import AsJson, say, show_record, show_rows
from keysat.cli.secret_input import read_secret
from keysat.cli.when import parse_age
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import KeysatError
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.licenses.signer import installed_signer
from keysat.models import WebhookEndpoint
from keysat.queue.outbox import EventType
from keysat.webhooks import endpoints
from keysat.webhooks.deliver import Sender, send_test

app = typer.Typer(help="Outbound webhooks: notifications for your own programs.", no_args_is_help=True)
endpoint = typer.Typer(help="Endpoints: the URLs of your programs.", no_args_is_help=True)
app.add_typer(endpoint, name="endpoint")
app.add_typer(delivery.app, name="delivery")
app.command()(listen)

Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's name.")]
Url = Annotated[str, typer.Argument(help="Where it listens, as https://shop.example.com/hooks.")]
Events = Annotated[list[str] | None, typer.Option("--event", help="An event it wants; repeatable; default: all.")]
SecretFile = Annotated[
    Path | None, typer.Option(help="A file with the secret of a receiver you have already; default: a new one.")
]

_WITH_KEY = "Put the license's key into license.issued; needs https://."


class NotDelivered(KeysatError):
    """The receiver didn't accept a test event."""


@endpoint.command()
def add(
    name: Annotated[str, typer.Argument(help="Your name for it, as 'shop'.")],
    url: Url,
    event: Events = None,
    secret_file: SecretFile = None,
    with_key: Annotated[bool, typer.Option("--with-key", help=_WITH_KEY)] = False,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint and print its secret, only this once. Try it with `keysat webhook test NAME`."""
    settings = load_settings()
    given = read_secret("secret", "", secret_file) if secret_file else ""
    with transaction() as session:
        row, secret = endpoints.add_endpoint(
            session,
            secret_box(settings),
            name,
            url,
            event or (),
            secret=given,
            with_key=with_key,
            allow_http=settings.webhook_may_be_http,
            actor="cli",
        )
    show_record({"id": str(row.id), "name": row.name, "secret": None if given else secret}, as_json)


@endpoint.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the endpoints and their health."""
    with reading() as session:
        rows = endpoints.list_endpoints(session)
    show_rows(
        [
            {
                "name": row.name,
                "url": row.url,
                "events": row.event_types or "all",
                "with_key": row.with_key,
                "state": _state(row),
                "failing_since": row.failing_since,
            }
            for row in rows
        ],
        as_json,
    )


def _state(row: WebhookEndpoint) -> str:
    if row.disabled:
        return f"disabled: {row.disabled_reason}"
    return "paused" if row.paused else "active"


@endpoint.command()
def edit(
    name: Name,
    url: Annotated[str | None, typer.Option(help="Where it listens from now on.")] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="All events it wants; repeatable; '' = all there are.")
    ] = None,
    with_key: Annotated[bool | None, typer.Option("--with-key/--without-key", help=_WITH_KEY)] = None,
) -> None:
    """Change an endpoint's URL or whether it gets keys, also for pending deliveries, or its events."""
    wanted = None if event is None else [event_type for event_type in event if event_type]
    with transaction() as session:
        endpoints.change_endpoint(
            session,
            name,
            url=url,
            event_types=wanted,
            with_key=with_key,
            allow_http=load_settings().webhook_may_be_http,
            actor="cli",
        )
    say(f"endpoint {name} is changed")


@endpoint.command()
def pause(name: Name) -> None:
    """Pause an endpoint. Its deliveries wait."""
    with transaction() as session:
        endpoints.pause_endpoint(session, name, actor="cli")
    say(f"endpoint {name} is paused; its deliveries wait for `keysat webhook endpoint resume {name}`")


@endpoint.command()
def resume(name: Name) -> None:
    """Send the deliveries that waited for a paused or disabled endpoint."""
    with transaction() as session:
        endpoints.resume_endpoint(session, name, actor="cli")
    say(f"endpoint {name} gets deliveries again")


@endpoint.command()
def rotate(
    name: Name,
    overlap: Annotated[str, typer.Option(help="How long the old secret counts, too, as 24h.")] = "24h",
    secret_file: SecretFile = None,
    as_json: AsJson = False,
) -> None:
    """Create a new secret and print it, only this once.

    Until the overlap ends, `webhook-signature` has a signature of each secret. `X-Keysat-Signature` has room for the
    new one only. Deliveries that a receiver refuses because of it are sent again.
    """
    given = read_secret("secret", "", secret_file) if secret_file else ""
    with transaction() as session:
        secret = endpoints.rotate_secret(
            session, secret_box(load_settings()), name, parse_age(overlap), secret=given, actor="cli"
        )
    show_record({"name": name, "secret": None if given else secret}, as_json)


@endpoint.command()
def remove(name: Name) -> None:
    """Remove an endpoint with its pending deliveries and its delivery history."""
    with transaction() as session:
        endpoints.remove_endpoint(session, name, actor="cli")
    say(f"endpoint {name} is gone")


@app.command("test")
def try_(
    name: Name,
    event: Annotated[EventType | None, typer.Option(help="A sample of this event; default: webhook.test.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a signed sample of an event now, and show the response. It is not retried."""
    with reading() as session:
        row = endpoints.require_endpoint(session, name)
    attempt = send_test(_sender(), row, event)
    show_record({"status": attempt.status_code, "answer": attempt.answer, "ms": attempt.duration_ms}, as_json)
    if not attempt.delivered:
        raise NotDelivered(f"{name} didn't take the test event: {attempt.failure}")


def _sender() -> Sender:
    return Sender.of(load_settings(), lambda row: installed_signer(DATABASE).key_for(row))
