"""docs/ and CONTRIBUTING.md compared with the code: the tree, the rules' tests, the events, the words, every file."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from keysat.queue.outbox import EventType
from tests.test_architecture import TREES
from tests.test_security import defined_in

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
ARCHITECTURE, CONTRIBUTING = PAGES["docs/architecture.md"], PAGES["CONTRIBUTING.md"]
# A path of the repository in backticks: with a folder, or a file of the top level. A test may follow.
PATH = re.compile(r"`((?:(?:keysat|tests|docs|deploy|\.ci)/[\w./-]*|[\w-]+\.(?:md|py|toml|yml|lock)))(?:::(\w+))?`")
PLACEHOLDER = re.compile("NAME|NOUN|NUMBER")

# Words of docs/architecture.md's "Not" column that no public class or function contains any more. A word goes in here
# when the last name with it is gone.
GONE = {
    "tells", "said", "heard", "owed", "owes", "wish", "insist", "overtaken", "overtake", "least", "longest",
    "each", "meanwhile", "somebody", "whoever", "whatever",
}  # fmt: skip


def section(page, title):
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", page.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def levels():
    """The tree's lines: the modules and folders of each level, from the top down."""
    (tree,) = re.findall(r"^```\n(.*?)^```", section(ARCHITECTURE, "The levels"), re.MULTILINE | re.DOTALL)
    return [set(re.findall(r"(?:^| )(\w+)(?:/|\.py)(?= )", line)) for line in tree.splitlines()]


def rules():
    """The rules, each with the text of its number."""
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", section(ARCHITECTURE, "The rules"), re.MULTILINE | re.DOTALL)
    return {int(number): text for number, text in found}


def words_of(name):
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def public_names():
    return {
        (where, node.name)
        for where, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_is_there(page):
    named = [(path, test) for path, test in PATH.findall(PAGES[page]) if not PLACEHOLDER.search(path)]
    assert named
    for path, test in named:
        assert (ROOT / path).exists(), f"{page}: {path} isn't there"
        if test:
            assert test in defined_in(ROOT / path), f"{page}: {path} has no {test}"


def test_tree_has_exactly_the_folders():
    folders = {path.parent.name for path in (ROOT / "keysat").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "keysat").glob("*.py")} - {"__init__"}
    assert set().union(*levels()) == folders | modules


def test_levels_are_those_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(re.findall(r"keysat\.(\w+)", layer)) for layer in contracts[0]["layers"]]
    assert levels() == layers


def test_rules_are_numbered_and_name_what_checks_them():
    assert list(rules()) == list(range(1, len(rules()) + 1))
    unchecked = [number for number, text in rules().items() if not re.search(r"`tests/\w[\w/]*\.py", text)]
    assert unchecked == []


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "\nEvents:" in text])
def test_events_are_listed(page):
    listed = PAGES[page].split("\nEvents:")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z_.]+)`", listed)) == set(EventType)


def test_some_page_lists_the_events():
    assert any("\nEvents:" in text for text in PAGES.values())


def test_words_that_are_gone_stay_gone():
    back = {name for name in public_names() if words_of(name[1]) & GONE}
    assert not back, f"{back}: use the words of docs/architecture.md."
    assert words_of("claim_unfulfilledRows") == {"claim", "unfulfilled", "rows"}


def test_readme_leads_here():
    assert "docs/architecture.md" in PAGES["README.md"]
    assert "CONTRIBUTING.md" in PAGES["README.md"]
