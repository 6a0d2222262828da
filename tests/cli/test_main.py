"""The command as a whole: help everywhere, one sentence for each failure, documented exit codes."""

import os
import subprocess
import sys

import pytest
import typer

from keysat import __version__
from keysat.cli import app


def command_paths(command=None, path=()):
    """Every command's path below `keysat`, the nouns' own included."""
    command = command or typer.main.get_command(app)
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from command_paths(child, (*path, name))


PASS_THROUGH = {("celery",), ("shell",)}
DOCUMENTED = sorted(set(command_paths()) - PASS_THROUGH)


def program(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "keysat", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", [(), ("invoice",), ("provider", "add")])
def test_program_shows_its_help(path):
    finished = program(*path, "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert " ".join(["Usage: keysat", *path]) in finished.stdout


@pytest.mark.parametrize("path", DOCUMENTED, ids=" ".join)
def test_every_command_explains_itself(keysat, path):
    finished = keysat(*path, "--help")
    assert (finished.code, finished.err) == (0, "")
    assert f"Usage: {' '.join(('keysat', *path))}" in finished.out


def test_all_nouns_are_there():
    nouns = {"product", "policy", "provider", "invoice", "license", "key", "db", "audit", "status", "doctor"}
    assert {path[0] for path in DOCUMENTED if path} >= nouns


def test_version_is_data(keysat):
    finished = keysat("--version")
    assert (finished.code, finished.out, finished.err) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("arguments", [["nonsense"], ["invoice", "nonsense"], ["--nonsense"], ["invoice", "show"]])
def test_wrong_usage_exits_with_2(keysat, arguments):
    assert "Usage:" in keysat(*arguments).usage


@pytest.mark.slow
def test_unreachable_database_is_one_sentence_without_the_password():
    finished = program("product", "list", DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/keysat")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("keysat: PostgreSQL at 127.0.0.1:1/keysat can't be reached")
    assert finished.stderr.count("\n") == 1
    assert "hunter2" not in finished.stderr


@pytest.mark.slow
def test_unusable_setting_is_one_sentence_that_names_it():
    finished = program("product", "list", KEYSAT_REVERSAL="burn")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("keysat: KEYSAT_REVERSAL can't be used: ")
    assert finished.stderr.count("\n") == 1
