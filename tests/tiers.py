"""The tiers of tests: those that use PostgreSQL or Valkey have the marker `servers`, and the others must not.

A test gets the marker when it or one of its fixtures requests the fixture `servers`. A file whose tests start servers
of their own sets it itself. `make test-fast` runs the tests that have neither it nor the marker `slow`.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from redis.connection import AbstractConnection

from keysat.embedded.servers import Postgres, Valkey

HINT = (
    "this test has no marker `servers`, so it must not use PostgreSQL or Valkey. Request the fixture `servers`, "
    "`settings` or `empty_database`, or, where it starts servers of its own, mark it with `pytest.mark.servers`."
)
WHOLE_FILE = re.compile(r'^pytestmark = .*("empty_database"|"servers"|mark\.servers)', re.MULTILINE)
LONGEST = ("faults", "browser", "stories", "embedded")  # with few tests each, they would begin last by themselves
ENTRANCES = ((psycopg2, "connect"), (AbstractConnection, "connect"), (Postgres, "start"), (Valkey, "start"))


def needs_no_import(path, config):
    """Whether every test of a file uses the servers, by its `pytestmark` or as a story, in a run without them."""
    return (
        "not servers" in config.getoption("markexpr")
        and path.name.startswith("test_")
        and (path.parent.name == "stories" or WHOLE_FILE.search(path.read_text()) is not None)
    )


def longest_first(items):
    """Let the folders whose files take longest begin first, so that none of their files runs alone at the end."""
    items.sort(key=lambda item: not set(LONGEST).intersection(item.path.parts))


def mark(items):
    """Mark the tests that request the servers."""
    for item in items:
        if "servers" in item.fixturenames:
            item.add_marker("servers")


@contextmanager
def without_servers() -> Iterator[None]:
    """Fail at the first use of a server; where another thread used it, at the end."""
    used_by = []

    def refuse(*_, **__):
        if threading.current_thread() is not threading.main_thread():
            used_by.append(threading.current_thread().name)
        pytest.fail(HINT)

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ENTRANCES:
            patch.setattr(owner, name, refuse)
        yield
    assert not used_by, HINT
