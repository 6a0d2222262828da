"""`keysat sandbox`: the next steps that it prints work."""

import pytest

from keysat.providers.registry import adapter_of
from keysat.sandbox.records import Kind
from keysat.sandbox.server import Sandbox
from tests.builders import load_account

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def sandbox_server():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("kind", list(Kind))
def test_sandbox_store_matches_account(keysat, sandbox_server, kind):
    registered = keysat("sandbox", "store", "shop", "--kind", kind, "--url", sandbox_server.url, stdin="made-up\n")
    assert (registered.code, registered.out) == (0, "")
    command = registered.err.strip().partition("now: keysat ")[2].replace("NAME", "main").split()
    assert keysat(*command, stdin="made-up\n").code == 0
    assert (load_account().kind, load_account().store_id) == (kind, "shop" if adapter_of(kind).has_stores else "-")
    assert keysat("provider", "test", "main").code == 0


def test_unknown_kind_is_wrong_usage(keysat, sandbox_server):
    assert (
        "paypal" in keysat("sandbox", "store", "shop", "--kind", "paypal", "--url", sandbox_server.url, stdin="x").usage
    )
