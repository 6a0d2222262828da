"""Output of commands: tables on a terminal, tab-separated lines in a pipe, JSON on request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from keysat.core.texts import printable

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Note = Annotated[str, typer.Option("--note", help="Why, for the audit log.")]

Row = Mapping[str, Any]


def say(text: str) -> None:
    """Print a message for the user to stderr."""
    print("\n".join(map(printable, text.split("\n"))), file=sys.stderr)


def show_line(text: str) -> None:
    """Print a line of text and flush it."""
    print(printable(text), flush=True)


def show_rows(rows: Sequence[Row], as_json: bool) -> None:
    """Print rows that have the same fields."""
    if as_json:
        print(json.dumps(rows, indent=2, default=_plain))
    elif not rows:
        say("nothing to show")
    elif on_a_terminal():
        _show_table(rows)
    else:
        print("\t".join(rows[0]))
        for row in rows:
            print("\t".join(_cell(value) for value in row.values()))


def _show_table(rows: Sequence[Row]) -> None:
    from rich.console import Console  # noqa: PLC0415 - few commands print tables, and the servers print none
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    table = Table(*rows[0], box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))  # as text, never as markup
    Console().print(table)


def show_record(record: Row, as_json: bool) -> None:
    """Print the fields of a record, one per line. The text leaves out empty fields."""
    if as_json:
        print(json.dumps(record, indent=2, default=_plain))
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        if value is not None and value != "":
            print(f"{name:<{width}}  {_cell(value)}")


def replace_file(path: Path, text: str) -> None:
    """Write a file that others may be reading: they get the old text or the new one. Raises OSError."""
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():  # a device or a pipe
        path.write_text(text, encoding="utf-8")
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def on_a_terminal() -> bool:
    """Return whether stdout is a terminal. It is None if it was closed before the start."""
    return sys.stdout is not None and sys.stdout.isatty()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> str:
    """Format a value for one line. Line breaks become spaces, and unprintable characters are replaced."""
    return printable(_shown(value).replace("\r\n", " ").replace("\n", " ").replace("\t", " "))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)
