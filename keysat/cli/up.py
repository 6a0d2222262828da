"""`keysat up`, `down` and `demo`: run all of Keysat on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from keysat.cli.output import say
from keysat.cli.prepare import prepare_apart
from keysat.core.settings import load_settings
from keysat.embedded import stack


def up(
    concurrency: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one a core.")] = None,
    flower: Annotated[bool, typer.Option(help="Show Flower, where it is installed.")] = True,
    web: Annotated[bool, typer.Option(help="Serve the HTTP API.")] = True,
) -> None:
    """Run Keysat here: embedded servers if no URL is set, migrations, web, worker, beat, Flower. Ctrl-C stops it."""
    settings = load_settings()
    worker_args = () if concurrency is None else (f"--concurrency={concurrency}",)
    stack.up(
        settings,
        prepare=lambda: prepare_apart(settings, say),
        on_event=say,
        worker_args=worker_args,
        flower=None if flower else False,
        web=web,
    )


def down() -> None:
    """Stop the Keysat that runs in the data directory, and processes that a killed one left behind."""
    if not stack.down(load_settings(), say):
        say("nothing runs here")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch directory and say where it is.")] = False,
) -> None:
    """Run a demo: 200 invoices, 150 paid, every webhook dropped, a worker killed. Exit 0 only if all is licensed."""
    from keysat.embedded.demo import run_in_scratch  # noqa: PLC0415 - `up` and `down` start sooner without it

    raise typer.Exit(run_in_scratch(keep=keep))
