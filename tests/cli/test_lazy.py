"""A command imports only what it needs, and the root's help imports no command at all."""

import os
import subprocess
import sys

import pytest
import typer

from keysat.cli import COMMANDS, app

HEAVY = {"celery", "kombu", "alembic", "fastapi", "uvicorn", "keysat.embedded.demo", "keysat.sandbox"}
RUN = """
import atexit, sys
sys.argv = ["keysat", *sys.argv[1:]]
atexit.register(lambda: print("imported:", *sys.modules))
from keysat.__main__ import run
run()
"""


def imported(*words):
    """The modules that a command imports, in a process of its own."""
    finished = subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.rpartition("imported:")[2].split())


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--version",), ("--help",)], ids=" ".join)
def test_root_imports_no_command_and_no_settings(words):
    own = {name for name in imported(*words) if name.startswith("keysat")}
    assert own == {
        "keysat",
        "keysat.__main__",
        "keysat.cli",
        "keysat.cli.hints",
        "keysat.cli.lazy",
        "keysat.core",
        "keysat.core.errors",
        "keysat.core.hints",
        "keysat.core.texts",
    }


ABSENT = {
    "--version": {"rich", "sqlalchemy", "pydantic_settings", "structlog"},
    "product list": {"requests", "redis", "cryptography", "limits"},
    "invoice list": {"redis", "limits"},
    "status": {"requests", "limits", "rich"},
    "up --help": {"sqlalchemy", "cryptography", "requests"},
}


@pytest.mark.parametrize("words", ABSENT)
def test_command_imports_nothing_heavy(empty_database, words):
    assert (HEAVY | ABSENT[words]) & imported(*words.split()) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_line_is_the_commands_own(name):
    root = typer.main.get_command(app)
    own = " ".join(root.commands[name].help.split("\n\n")[0].split())
    assert COMMANDS[name].help == own
    assert root.get_command(None, name).help == own


@pytest.mark.slow
def test_completion_reaches_commands_below_a_noun():
    environment = {
        **os.environ,
        "_KEYSAT_COMPLETE": "complete_bash",
        "COMP_WORDS": "keysat invoice sh",
        "COMP_CWORD": "2",
    }
    finished = subprocess.run(
        [sys.executable, "-m", "keysat"], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.stdout.split() == ["show"]


@pytest.mark.slow
def test_wrong_setting_spares_help_and_version():
    for words in (["--version"], ["--help"]):
        finished = subprocess.run(
            [sys.executable, "-m", "keysat", *words],
            env={**os.environ, "KEYSAT_REVERSAL": "burn"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (finished.returncode, finished.stderr) == (0, "")


def test_typo_is_answered_with_the_command_that_was_meant(keysat):
    assert "Did you mean 'invoice'?" in keysat("invoise").usage
