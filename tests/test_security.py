"""SECURITY.md is right: each test that it names exists and runs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| `([^`]+)` \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)


def defined_in(path: Path) -> set[str]:
    """The tests that a file defines and that run: not skipped, and with something to check."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    marks = {function.name: "".join(ast.unparse(mark) for mark in function.decorator_list) for function in functions}
    return {
        function.name
        for function in functions
        if function.name.startswith("test_") and "skip" not in marks[function.name]
    }


def test_threats_are_listed():
    assert len(ROWS) > 20
    lines = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    assert len(lines) == len(ROWS) + 1, "a row has another form, and is not looked at"


@pytest.mark.parametrize("named", sorted({test for _, _, test in ROWS}))
def test_what_is_said_to_be_tried_is_tried(named):
    file, _, test = named.partition("::")
    assert (ROOT / file).is_file(), file
    assert test in defined_in(ROOT / file), named


def test_row_that_names_no_test_would_be_seen():
    assert "test_that_is_not_there" not in defined_in(Path(__file__))
    assert "test_threats_are_listed" in defined_in(Path(__file__))
