"""`keysat provider connect`: register our webhook at the provider, and see it arrive."""

from __future__ import annotations

import time
from datetime import datetime
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import typer
from sqlalchemy import func, select

from keysat.cli.output import say
from keysat.db import reading, transaction
from keysat.errors import KeysatError
from keysat.models import ProviderAccount
from keysat.providers import connect as webhooks
from keysat.providers.base import NotSupported
from keysat.providers.registry import provider_for
from keysat.secrets import secret_box
from keysat.settings import load_settings

_POLL_SECONDS = 0.2


class NoWebhookCame(KeysatError):
    """The webhook is registered, and nothing arrived."""

    def __init__(self, name: str, url: str, seconds: float) -> None:
        super().__init__(
            f"no webhook of {name} came within {seconds:g} s: is {url} reachable from the provider "
            "(KEYSAT_PUBLIC_URL, TLS, firewall, proxy), and does the web server run? `keysat doctor` looks; the "
            "provider's own list of deliveries shows what it got for an answer. Until then, polling finds the payments."
        )


def connect(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    wait: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait for a webhook to arrive.")] = 30,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Replace the webhook secret.")] = False,
) -> None:
    """Register our webhook at the provider, and check that it arrives. The web server must run."""
    settings = load_settings()
    with transaction() as session:
        account, secret = webhooks.ensure_secret(session, secret_box(settings), name, renew=new_secret)
        since = session.scalars(select(func.now())).one()
    url = webhooks.webhook_url(account, secret, settings.url)
    for warning in _warnings(settings.url, account.base_url):
        say(warning)
    _register(account, url, secret)
    _await(account, settings.url, since, wait)
    say(f"{name}: a webhook arrived; paid invoices get their licenses at once")


def _register(account: ProviderAccount, url: str, secret: str) -> None:
    provider = provider_for(account)
    try:
        provider.connect_webhook(url, secret)
    except NotSupported as error:
        say(f"{str(error).rstrip('.')}. It is secret: whoever knows it can make us ask the provider. Enter it there:")
        print(url, flush=True)
        return
    with transaction() as session:
        webhooks.note_connected(session, account.id)
    say(f"{account.name}: the webhook is registered; a test invoice is made, which nobody needs to pay")
    provider.create_invoice(webhooks.probe())


def _await(account: ProviderAccount, url: str, since: datetime, seconds: float) -> None:
    say(f"waiting up to {seconds:g} s for a webhook ...")
    deadline = time.monotonic() + seconds
    while True:
        with reading() as session:
            if webhooks.has_heard(session, account.id, since):
                return
        if time.monotonic() > deadline:
            raise NoWebhookCame(account.name, url, seconds)
        time.sleep(_POLL_SECONDS)


def _warnings(public_url: str, provider_url: str) -> list[str]:
    """What is likely to keep webhooks from arriving, or lets others read them."""
    ours, theirs = _host(public_url), _host(provider_url)
    if _is_local(theirs):
        return []
    if _is_local(ours):
        return [f"careful: {public_url} means this machine only; set KEYSAT_PUBLIC_URL to what the provider can reach"]
    if urlsplit(public_url).scheme == "http":
        return [f"careful: {public_url} has no TLS, so others can read and replay webhooks on their way"]
    return []


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
