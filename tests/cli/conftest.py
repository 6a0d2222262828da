"""Runs commands as the `keysat` program does, in this process."""

import io
import json
import sys
from dataclasses import dataclass

import pytest

from keysat.cli import main


@dataclass(frozen=True)
class Finished:
    """What a command left behind: its exit code, its data and its talk."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def refusal(self):
        """Return the sentence of a refused command. Only log lines may surround it."""
        assert self.code == 1
        assert self.out == ""
        assert "Traceback" not in self.err
        sentence = self.err.splitlines()[-1]
        assert sentence.startswith("keysat: ")
        return sentence.removeprefix("keysat: ")

    @property
    def usage(self):
        """Return the message of a misused command, which exits with 2."""
        assert self.code == 2
        assert self.out == ""
        assert "Traceback" not in self.err
        return " ".join(self.err.replace("│", " ").split())


@pytest.fixture
def keysat(monkeypatch, capsys):
    """Runs a command: its arguments, and what it reads from stdin."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["keysat", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        said = capsys.readouterr()
        # As the interpreter does: a text is printed on stderr, and the exit code is 1.
        if isinstance(ending.value.code, str):
            return Finished(1, said.out, f"{said.err}{ending.value.code}\n")
        return Finished(ending.value.code or 0, said.out, said.err)

    return run
