"""A test of the fast tier fails when it uses a server."""

import threading
from contextlib import suppress

import psycopg2
import pytest

from keysat.core.settings import load_settings
from keysat.embedded.servers import Postgres
from keysat.tasks.app import app
from tests import tiers

REFUSED = pytest.fail.Exception


def publish():
    app.send_task("keysat.scan_pending")


def start_a_server():
    settings = load_settings()
    Postgres(settings.data_dir, settings.run_dir).start()


def connect_to_postgres():
    psycopg2.connect(load_settings().database_url or "")


@pytest.mark.parametrize("use", [publish, start_a_server, connect_to_postgres])
def test_use_of_a_server_fails(use):
    with pytest.raises(REFUSED, match="no marker `servers`"):
        use()


def in_a_thread():
    def use():
        with suppress(REFUSED):
            connect_to_postgres()

    thread = threading.Thread(target=use)
    with tiers.without_servers():
        thread.start()
        thread.join()


def test_use_in_a_thread_fails_at_the_end():
    with pytest.raises(AssertionError, match="no marker `servers`"):
        in_a_thread()


def test_request_of_the_servers_marks_the_test(request):
    assert request.node.get_closest_marker("servers") is None
    assert all(
        item.get_closest_marker("servers") for item in request.session.items if "empty_database" in item.fixturenames
    )


def test_files_of_server_tests_are_found_by_their_mark(pytestconfig, monkeypatch, tmp_path):
    monkeypatch.setattr(pytestconfig.option, "markexpr", "not servers and not slow")
    for number, (line, skipped) in enumerate(
        {
            'pytestmark = pytest.mark.usefixtures("empty_database", "fake")': True,
            'pytestmark = pytest.mark.usefixtures("servers")': True,
            "pytestmark = pytest.mark.servers": True,
            "pytestmark = pytest.mark.slow": False,
            '@pytest.mark.usefixtures("servers")': False,
        }.items()
    ):
        path = tmp_path / f"test_{number}.py"
        path.write_text(f"import pytest\n\n{line}\n")
        assert tiers.needs_no_import(path, pytestconfig) is skipped, line
        monkeypatch.setattr(pytestconfig.option, "markexpr", "")
        assert not tiers.needs_no_import(path, pytestconfig)
        monkeypatch.setattr(pytestconfig.option, "markexpr", "not servers and not slow")
