"""The `keysat` command: one file per noun. stdout is for data, stderr for messages.

Exit codes: 0 success, 1 refused or failed, 2 wrong usage, 3 something needs attention (`status`, `doctor`, `demo`).
"""

from __future__ import annotations

import io
import logging
import sys

import typer

from keysat import __version__
from keysat.cli.hints import explained
from keysat.cli.lazy import Entry, importing, lazy_group
from keysat.core.errors import InvalidInput, KeysatError
from keysat.core.texts import printable

# A help line repeats the first paragraph of the command's own help, so that the root's help imports no command.
COMMANDS = {
    "up": Entry(
        "keysat.cli.up:up",
        "Run Keysat here: embedded servers if no URL is set, migrations, web, worker, beat, Flower. Ctrl-C stops it.",
    ),
    "down": Entry(
        "keysat.cli.up:down",
        "Stop the Keysat that runs in the data directory, and processes that a killed one left behind.",
    ),
    "status": Entry(
        "keysat.cli.status:status",
        "Show the backlog and running processes. "
        "Exit 3 if something waits for a person or the database is unavailable.",
    ),
    "doctor": Entry(
        "keysat.cli.doctor:doctor",
        "Check everything Keysat needs, with a remedy for each failure. Exit 3 if something is broken.",
    ),
    "demo": Entry(
        "keysat.cli.up:demo",
        "Run a demo: 200 invoices, 150 paid, every webhook dropped, a worker killed. Exit 0 only if all is licensed.",
    ),
    "celery": Entry(
        "keysat.cli.celery_:celery",
        "Run Celery with Keysat's app: `keysat celery inspect active`, `keysat celery call keysat.scan_pending` ...",
        passes_through=True,
    ),
    "shell": Entry(
        "keysat.cli.celery_:shell", "Open a Python shell with Keysat's app and tasks imported.", passes_through=True
    ),
    "web": Entry(
        "keysat.cli.web:web", "Serve the HTTP API. Ctrl-C or SIGTERM stops it, once running requests are complete."
    ),
    "mail": Entry("keysat.cli.mail:app", "Mail to buyers."),
    "sweep": Entry(
        "keysat.cli.sweep:sweep",
        "Fetch many invoices from the provider in one call, and reconcile those that changed.",
    ),
    "report": Entry(
        "keysat.cli.report:report",
        "Report payments by day, product and currency, with totals: settled, late, over, under review, reversed, tips.",
    ),
    "prune": Entry(
        "keysat.cli.report:prune",
        "Delete old data: delivered webhooks, sent mail, handled events, checks. The audit log and pending work stay.",
    ),
    "invoice": Entry("keysat.cli.invoice:app", "Invoices."),
    "license": Entry("keysat.cli.license_:app", "Licenses."),
    "subscription": Entry("keysat.cli.subscription:app", "Subscriptions: licenses that are renewed."),
    "status-list": Entry(
        "keysat.cli.status_list:status_list",
        "Sign the list of licenses that were withdrawn or extended, or got a new key, for programs without a network.",
    ),
    "machine": Entry("keysat.cli.machine:app", "Machines: where licenses are in use."),
    "product": Entry("keysat.cli.product:app", "Products."),
    "policy": Entry("keysat.cli.policy:app", "Policies: the terms a product is licensed under."),
    "provider": Entry("keysat.cli.provider:app", "Accounts at payment providers."),
    "code": Entry("keysat.cli.code:app", "Discount codes."),
    "webhook": Entry("keysat.cli.webhook:app", "Outbound webhooks: notifications for your own programs."),
    "tip": Entry("keysat.cli.tip:app", "Tips to Lightning Addresses."),
    "key": Entry("keysat.cli.key:app", "The keys that sign licenses and encrypt credentials."),
    "db": Entry("keysat.cli.database:app", "The database's schema."),
    "audit": Entry("keysat.cli.audit:app", "The audit log."),
    "api-key": Entry("keysat.cli.api_key:app", "Keys of the admin API."),
    "sandbox": Entry("keysat.cli.sandbox:app", "A simulated payment provider on this machine, for trying Keysat."),
}

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    help="Every paid invoice becomes exactly one software license, whatever gets lost on the way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    _configure()


def _configure() -> None:
    # Help and version work without settings, and their imports take as long as the rest of `--help`.
    with importing():
        from keysat.core.logs import configure_logs  # noqa: PLC0415 - see above
        from keysat.core.settings import load_settings  # noqa: PLC0415 - see above

    settings = load_settings()
    configure_logs(settings)
    if settings.log_level == "INFO":  # the command itself reports to its user
        logging.getLogger().setLevel(logging.ERROR)


_command = typer.main.get_command(app)


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
        _require_text(sys.argv)
        _command(prog_name="keysat")
    except KeysatError as error:
        sys.exit(f"keysat: {printable(explained(error))}")
    except OSError as error:  # stdout is full or gone, but changes were committed before the output
        sys.exit(f"keysat: the output can't be written ({error.strerror or error}).")
    except KeyboardInterrupt:
        sys.exit(130)
