"""README is right: its settings match the code, its commands and its files exist."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

from keysat.cli import app
from keysat.core.settings import Settings
from keysat.models.mail import MailKind

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def variables():
    return {
        str(field.validation_alias or f"KEYSAT_{name.upper()}"): field for name, field in Settings.model_fields.items()
    }


def test_settings_table_matches_settings():
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", README, re.MULTILINE))
    assert documented.keys() == variables().keys()
    for name, field in variables().items():
        if isinstance(field.default, str) and field.default:
            assert documented[name] == f"`{field.default}`", name
        elif isinstance(field.default, int | float):
            assert documented[name] == f"`{field.default:g}`" or documented[name] == f"`{field.default}`", name


def test_every_command_that_is_shown_exists():
    root = typer.main.get_command(app)
    shown = set(re.findall(r"(?<!-A )keysat ([a-z]+)(?: ([a-z]+))?(?= |`|$)", README, re.MULTILINE))
    assert len(shown) > 10
    for noun, verb in shown:
        command = root.commands.get(noun)
        assert command is not None, f"keysat {noun}"
        if hasattr(command, "commands"):
            assert verb in command.commands, f"keysat {noun} {verb}"


def test_every_option_that_is_shown_exists():
    root = typer.main.get_command(app)
    for line in re.findall(r"^keysat ([a-z]+ [a-z]+ [^#\n]*)", README, re.MULTILINE):
        command, words = root, line.split()
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, f"keysat {line}"


def test_every_file_that_is_named_is_there():
    for path in re.findall(r"`((?:keysat|tests)/[A-Za-z0-9_/.]+)`", README):
        assert (ROOT / path).exists(), path


def mail_section():
    return README.partition("\n## Mail to buyers\n")[2].partition("\n## ")[0]


def test_every_kind_of_mail_is_listed():
    rows = re.findall(r"^\| (`[a-z`, ]+`) \| ", mail_section(), re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(MailKind)


def test_every_template_of_mail_is_named():
    files = {path.name for path in (ROOT / "keysat/mail/templates").iterdir()}
    assert files > {f"{kind}.jinja" for kind in MailKind}
    assert set(re.findall(r"`([\w.]+\.jinja)`", mail_section())) == files


@pytest.mark.slow
def test_make_targets_that_are_shown_exist():
    for target in re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE):
        run = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert run.returncode == 0, target
