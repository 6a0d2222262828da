"""Every text of the catalogs is shown somewhere, and every text that is shown is there."""

import re
from pathlib import Path

import keysat.web.pages
from keysat.web.pages.language import catalog
from tests.web.pages.states import SHOWN

FOLDER = Path(keysat.web.pages.__file__).parent
SOURCES = [path.read_text() for suffix in ("py", "html") for path in FOLDER.rglob(f"*.{suffix}")]
DOTTED = r"[a-z_]+(?:\.[a-z_]+)*"
# "state." ~ found.face ~ ".title" of a template, and f"term.{unit}" of the code
JOINED = re.compile(rf"""["']({DOTTED}[._])["'] ~ [\w.]+(?: ~ ["']([._a-z]+)["'])?|f"({DOTTED}\.)\{{[\w.]+\}}\"""")
FACES = {*map(str, SHOWN), "preparing", "suspended", "revoked", "transferred", "ended"}


def used(key):
    """Whether a source names a text, in one piece or in two."""
    names = {key, re.sub(r"\.(one|other)$", "", key)}
    if any(re.search(rf"""["']{re.escape(name)}["']""", source) for name in names for source in SOURCES):
        return True
    joined = [match for source in SOURCES for match in JOINED.finditer(source)]
    patterns = [re.escape(match[1] or match[3]) + r"\w+" + re.escape(match[2] or "") for match in joined]
    return any(re.fullmatch(pattern, name) for pattern in patterns for name in names)


def test_every_text_is_shown_somewhere():
    assert [key for key in catalog("en") if not used(key)] == []
    assert {key.split(".")[1] for key in catalog("en") if key.startswith("state.")} == FACES


def test_unused_text_is_found():
    for unused in ("home.none", "buy.error_title", "states.waiting.title", "term", "state.waiting.body"):
        assert not used(unused)


def test_every_text_that_is_named_is_there():
    named = {match[1] for source in SOURCES for match in re.finditer(rf"""\bt\(["']({DOTTED})["'](?! ~)""", source)}
    named |= {
        match[1] for source in SOURCES for match in re.finditer(rf"""texts(?:\.plain)?\(["']({DOTTED})["']""", source)
    }
    assert len(named) > 60
    assert named - set(catalog("en")) == set()


def test_every_copy_button_says_what_happens():
    """It names what it copies, and what to say when that worked and when the browser refused."""
    buttons = [tag for source in SOURCES for tag in re.findall(r"<button[^>]*\bdata-copy=[^>]*>", source)]
    assert len(buttons) == sum(source.count("data-copy=") for source in SOURCES) >= 2
    wanted = ("data-copy", "data-done", "data-failed")
    assert [tag for tag in buttons if not all(re.search(rf'\b{name}="[^"]+"', tag) for name in wanted)] == []
    # The script shows them, so that nobody sees one that does nothing.
    assert [tag for tag in buttons if not tag.endswith(" hidden>")] == []
