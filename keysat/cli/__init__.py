"""The `keysat` command: one file per noun. stdout is for data, stderr for messages.

Exit codes: 0 success, 1 refused or failed, 2 wrong usage, 3 something needs attention (`status`, `doctor`, `demo`).
"""

from __future__ import annotations

import io
import logging
import sys

import typer

from keysat import __version__
from keysat.cli import (
    api_key,
    audit,
    code,
    database,
    invoice,
    key,
    license_,
    machine,
    operate,
    policy,
    product,
    provider,
    report,
    sandbox,
    sweep,
    tip,
    web,
    webhook,
)
from keysat.cli.hints import explained
from keysat.core.errors import InvalidInput, KeysatError
from keysat.core.logs import configure_logs
from keysat.core.settings import load_settings
from keysat.core.texts import printable

app = typer.Typer(
    help="Every paid invoice becomes exactly one software license, whatever gets lost on the way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
operate.register(app)
app.command()(web.web)
app.command()(sweep.sweep)
app.command()(report.report)
app.command()(report.prune)
app.add_typer(invoice.app, name="invoice")
app.add_typer(license_.app, name="license")
app.add_typer(machine.app, name="machine")
app.add_typer(product.app, name="product")
app.add_typer(policy.app, name="policy")
app.add_typer(provider.app, name="provider")
app.add_typer(code.app, name="code")
app.add_typer(webhook.app, name="webhook")
app.add_typer(tip.app, name="tip")
app.add_typer(key.app, name="key")
app.add_typer(database.app, name="db")
app.add_typer(audit.app, name="audit")
app.add_typer(api_key.app, name="api-key")
app.add_typer(sandbox.app, name="sandbox")


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


_command = typer.main.get_command(app)  # built once, as it takes as long as most commands


def _require_text(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"the argument {argument!a} is not UTF-8 text.") from None


def main() -> None:
    """Run the command line. An error prints one sentence on stderr and exits with code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed before the start
            stream.reconfigure(errors="backslashreplace")
    try:
        settings = load_settings()
        configure_logs(settings)
        if settings.log_level == "INFO":  # the command itself reports to its user
            logging.getLogger().setLevel(logging.ERROR)
        _require_text(sys.argv)
        _command(prog_name="keysat")
    except KeysatError as error:
        sys.exit(f"keysat: {printable(explained(error))}")
    except OSError as error:  # stdout is full or gone, but changes were committed before the output
        sys.exit(f"keysat: the output can't be written ({error.strerror or error}).")
    except KeyboardInterrupt:
        sys.exit(130)
