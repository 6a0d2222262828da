"""`keysat sandbox`: a simulated payment provider for trying Keysat, and actions of its buyers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from keysat.cli.output import AsJson, Row, say, show_record
from keysat.cli.secret_input import read_secret
from keysat.providers.registry import adapter_of
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.records import Kind
from keysat.sandbox.server import run as serve

app = typer.Typer(help="A simulated payment provider on this machine, for trying Keysat.", no_args_is_help=True)

DEFAULT_PORT = 8900

Url = Annotated[str, typer.Option(help="Where the sandbox is.")]
Id = Annotated[str, typer.Argument(metavar="INVOICE", help="The provider's id of the invoice.")]
AT_HOME = f"http://127.0.0.1:{DEFAULT_PORT}"


@app.command()
def run(port: Annotated[int, typer.Option(min=0, max=65_535, help="0 = any free port.")] = DEFAULT_PORT) -> None:
    """Run the sandbox until Ctrl-C. Its ledger is in memory."""
    serve("127.0.0.1", port)


@app.command()
def store(
    store_id: Annotated[str, typer.Argument(metavar="STORE")],
    kind: Annotated[Kind, typer.Option(help="Whose API it has.")] = Kind.BTCPAY,
    url: Url = AT_HOME,
) -> None:
    """Add a store. Its API key, any text you make up, is read from stdin or KEYSAT_PROVIDER_API_KEY."""
    with SandboxClient(url) as client:
        client.register_store(store_id, read_secret("API key", "KEYSAT_PROVIDER_API_KEY", None), kind=kind)
    its_id = f" --store {store_id}" if adapter_of(kind).has_stores else ""
    say(f"store {store_id} is there; now: keysat provider add NAME --kind {kind} --url {url}{its_id}")


@app.command()
def pay(
    invoice: Id,
    amount: Annotated[str | None, typer.Option(help="In whole units, as 0.00021; default: what is missing.")] = None,
    late: Annotated[bool, typer.Option("--late", help="Let the invoice expire first.")] = False,
    unconfirmed: Annotated[bool, typer.Option("--unconfirmed", help="Wait for `confirm`.")] = False,
    url: Url = AT_HOME,
    as_json: AsJson = False,
) -> None:
    """Pay an invoice, as a buyer would."""
    with SandboxClient(url) as client:
        _show(client.pay(invoice, amount, confirmations=0 if unconfirmed else 1, late=late), as_json)


@app.command()
def confirm(invoice: Id, url: Url = AT_HOME, as_json: AsJson = False) -> None:
    """Confirm an invoice's payments, as the chain would."""
    with SandboxClient(url) as client:
        _show(client.confirm(invoice), as_json)


@app.command()
def expire(invoice: Id, url: Url = AT_HOME, as_json: AsJson = False) -> None:
    """Let an invoice expire, as time would."""
    with SandboxClient(url) as client:
        _show(client.expire(invoice), as_json)


@app.command()
def refund(invoice: Id, url: Url = AT_HOME, as_json: AsJson = False) -> None:
    """Refund an invoice and mark it invalid, as a merchant would."""
    with SandboxClient(url) as client:
        _show(client.refund(invoice), as_json)


def _show(entry: dict[str, Any], as_json: bool) -> None:
    shown: Row = {
        name: entry[name] for name in ("id", "status", "additional_status", "amount", "paid_amount", "currency")
    }
    show_record(entry if as_json else shown, as_json)
