"""Texts of strangers never act upon the operator's terminal, and no circumstance shows a traceback."""

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from keysat.cli import output
from keysat.core.db import Base, transaction
from keysat.core.texts import csv_cell, printable
from tests.builders import make_invoice, make_license, make_shop

HOSTILE = "a[/b][link=x]\x1b[31m\x9b2J\u202e\u200b\u2028\r\nü"
ACTING = "\x1b\x9b\u202e\u200b\u2028\r"
LISTS = [
    ("invoice", "list"),
    ("license", "list"),
    ("product", "list"),
    ("policy", "list", "editor"),
    ("provider", "list"),
    ("code", "list"),
    ("webhook", "endpoint", "list"),
    ("webhook", "delivery", "list"),
    ("tip", "list"),
    ("audit", "list"),
    ("api-key", "list"),
    ("status",),
]


@pytest.fixture
def hostile_rows(empty_database, fake):
    """Rows whose free texts are all hostile, as if they had come in before anything was checked."""
    make_shop()
    invoice = make_invoice()
    make_license("viewer")
    free = {"buyer_email", "buyer_note", "last_error", "last_said", "description", "name", "pause_reason"}
    with transaction() as session:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if column.name in free and table.name in {"invoices", "products", "policies"}:
                    session.execute(text(f"UPDATE {table.name} SET {column.name} = :text"), {"text": HOSTILE})
    return invoice


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
@pytest.mark.parametrize("terminal", [False, True])
def test_no_listing_lets_a_text_act(keysat, hostile_rows, monkeypatch, words, terminal):
    if terminal:
        monkeypatch.setattr(output, "on_a_terminal", lambda: True)
    finished = keysat(*words)
    assert finished.code in {0, 3}
    assert not set(ACTING) & set(finished.out + finished.err)


def test_invoice_with_a_hostile_buyer_is_shown(keysat, hostile_rows):
    shown = keysat("invoice", "show", hostile_rows.id)
    assert "[link=x]" in shown.out
    assert not set(ACTING) & set(shown.out)


def test_refusal_that_repeats_a_hostile_word_is_harmless(keysat, empty_database):
    assert not set(ACTING) & set(keysat("invoice", "show", HOSTILE.replace("\r\n", "")).err)


def test_printable_marks_whatever_acts():
    assert not set(ACTING) & set(printable(HOSTILE))


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_csv_holds_no_formula(formula):
    assert csv_cell(formula) == f"'{formula}"
    assert csv_cell(-5) == -5


def run(*words, **options):
    return subprocess.run([sys.executable, "-m", "keysat", *words], capture_output=True, check=False, **options)


def test_ascii_output_is_escaped_not_refused(hostile_rows):
    ascii_only = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONCOERCECLOCALE": "0",
    }
    finished = run("invoice", "list", env=ascii_only)
    assert (finished.returncode, b"Traceback" in finished.stderr) == (0, False)


def test_closed_stdin_is_a_sentence(empty_database, servers):
    finished = run("provider", "add", "x", "--kind", "zaprite", preexec_fn=lambda: os.close(0))
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(b"keysat: give the API key")


def test_reader_that_went_away_shows_no_traceback(hostile_rows):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        finished = subprocess.run(
            [sys.executable, "-m", "keysat", "invoice", "list"], stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert b"Traceback" not in finished.stderr


@pytest.mark.parametrize(
    "loaded", [b"typer.main", b"sqlalchemy.orm", b"keysat.core.settings", b"keysat.cli", b"keysat.settlement.reconcile"]
)
def test_interrupt_at_any_moment_shows_no_traceback(servers, loaded):
    """From its own first line on, in any module."""
    command = [sys.executable, "-X", "importtime", "-m", "keysat", "invoice", "watch", "x"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.split(b"|")[-1].strip() == loaded:
            break
    else:
        pytest.fail(f"{loaded.decode()} was never loaded")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert b"Traceback" not in errors
