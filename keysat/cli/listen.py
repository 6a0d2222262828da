"""`keysat webhook listen`: events as they happen, and on to a program on this machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from keysat.cli.output import say, show_line
from keysat.cli.secret_input import read_secret
from keysat.core.db import transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.net.untrusted import UntrustedClient, check_url
from keysat.webhooks.deliver import call_receiver, client_of
from keysat.webhooks.listen import (
    ANYWHERE,
    TakenDelivery,
    close_listener,
    keep_listener,
    open_listener,
    take_deliveries,
)
from keysat.webhooks.signing import signed_headers


@dataclass(frozen=True)
class Program:
    """The program that events are forwarded to. `secret` signs them."""

    client: UntrustedClient
    url: str
    secret: str

    def send(self, delivery: TakenDelivery) -> None:
        """Send a delivery once, and print what the program responds."""
        now = int(time.time())
        headers = signed_headers(delivery.delivery_id, delivery.event_type, delivery.body, [self.secret], now)
        attempt = call_receiver(self.client, self.url, headers, delivery.body)
        say(f"{delivery.event_type}: {attempt.error or f'the program responded with {attempt.status_code}'}")


def listen(
    event: Annotated[list[str] | None, typer.Option("--event", help="Only this event; repeatable.")] = None,
    forward: Annotated[str | None, typer.Option(help="Send each to this URL, as http://127.0.0.1:3000/hooks.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="A file with the secret that your program verifies; default: a new one.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many; default: at Ctrl-C.")] = None,
    every: Annotated[float, typer.Option(min=0.05, max=60, help="Seconds between two queries.")] = 0.5,
) -> None:
    """Print events as they happen, one JSON a line, and forward them signed as to a real endpoint."""
    settings = load_settings()
    given = read_secret("secret", "", secret_file) if secret_file else ""
    if forward is not None:
        check_url(forward, allow_http=True)
    with transaction() as session:
        endpoint, secret = open_listener(session, secret_box(settings), event or (), given, "cli")
    say(f"listening as {endpoint.name}; Ctrl-C ends it")
    if forward is not None and not given:
        say(f"what is forwarded is signed with the secret {secret}")
    program = None if forward is None else Program(client_of(settings, ANYWHERE, allow_http=True), forward, secret)
    try:
        _print_events(endpoint.name, program, count, every)
    finally:
        with transaction() as session:
            close_listener(session, endpoint.name, "cli")


def _print_events(name: str, program: Program | None, count: int | None, every: float) -> None:
    left = math.inf if count is None else count
    while left > 0:
        with transaction() as session:
            taken = take_deliveries(session, name)
        for delivery in taken if count is None else taken[: int(left)]:
            show_line(delivery.body.decode())
            if program is not None:
                program.send(delivery)
                with transaction() as session:
                    keep_listener(session, name)  # each may take as long as a receiver is waited for
        left -= len(taken)
        if not taken:
            time.sleep(every)
