"""`keysat demo`: see Keysat work in a scratch directory."""

from __future__ import annotations

from typing import Annotated

import typer

from keysat.embedded.demo import run_in_scratch


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the scratch directory and say where it is.")] = False,
) -> None:
    """Run a demo: 200 invoices, 150 paid, every webhook dropped, a worker killed. Exit 0 only if all is licensed."""
    raise typer.Exit(run_in_scratch(keep=keep))
