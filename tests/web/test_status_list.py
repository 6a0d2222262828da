"""`GET /v1/status-list`: signed, cheap, and readable from anywhere."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from keysat.core.db import engine, transaction
from keysat.core.errors import DatabaseUnavailable
from keysat.licenses.withdraw import change_status
from keysat.models.license import LicenseStatus
from keysat.web import status_list
from keysat.web.status_list import Kept
from tests.builders import make_license
from tests.examples import load_example

pytestmark = pytest.mark.usefixtures("empty_database")
EXAMPLE = load_example("check_status_list")
PATH = "/v1/status-list"


@pytest.fixture
def kept(monkeypatch):
    """A web process that has no list yet."""
    fresh = Kept()
    monkeypatch.setattr(status_list, "KEPT", fresh)
    return fresh


@pytest.fixture
def statements():
    """The statements that reach the database from now on."""
    found = []

    def note(_connection, _cursor, statement, *_):
        found.append(statement)

    event.listen(engine(), "before_cursor_execute", note)
    yield found
    event.remove(engine(), "before_cursor_execute", note)


def revoke(row):
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.REVOKED, "cli", "because")


def test_list_is_signed_and_says_what_was_withdrawn(api, kept, signer):
    row = make_license()
    revoke(row)
    key = signer.key_for(row)
    text = api.get(PATH).text
    assert EXAMPLE.refusal(EXAMPLE.read_key(key, signer.public_key), text, signer.public_key, (0, 0)) == (
        "withdrawn",
        (0, 1),
    )


def test_list_may_be_cached_and_asked_for_again(api, kept):
    first = api.get(PATH)
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Cache-Control"] == "public, max-age=60"
    for named in (first.headers["ETag"], f'"other", W/{first.headers["ETag"]}', "*"):
        again = api.get(PATH, headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert api.get(PATH, headers={"If-None-Match": '"other"'}).content == first.content


def test_head_has_the_headers_alone(api, kept):
    listed, head = api.get(PATH), api.call("HEAD", PATH)
    assert head.content == b""
    assert [head.headers[name] for name in ("ETag", "Content-Length")] == [
        listed.headers["ETag"],
        str(len(listed.content)),
    ]


def test_programs_in_browsers_of_any_origin_read_it(api, kept):
    response = api.get(PATH, headers={"Origin": "https://app.example.com"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "ETag" in response.headers["Access-Control-Expose-Headers"]


def test_repeated_requests_reach_no_database(api, kept, statements):
    api.get(PATH)
    assert statements
    statements.clear()
    for _ in range(20):
        api.get(PATH)
    assert statements == []


def test_many_first_requests_get_one_list(api, kept):
    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda _: api.session.get(api.url + PATH, timeout=60).content, range(16)))
    assert len(set(found)) == 1


def test_change_is_shown_once_the_copy_is_old(api, kept):
    row = make_license()
    first = api.get(PATH)
    revoke(row)
    assert api.get(PATH).content == first.content
    kept._until = 0.0
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE status_lists SET checked_at = NULL")
    assert api.get(PATH).headers["ETag"] != first.headers["ETag"]


def test_unchanged_list_is_not_read_again(api, kept, statements):
    api.get(PATH)
    statements.clear()
    kept._until = 0.0
    api.get(PATH)
    assert len([statement for statement in statements if "status_lists" in statement]) == 1
    assert not any("body" in statement for statement in statements)


def test_copy_is_served_while_the_database_is_down(api, kept, monkeypatch, log_of):
    lines = log_of("keysat.web.status_list")
    first = api.get(PATH)

    def down():
        raise DatabaseUnavailable("nowhere", "made up")

    monkeypatch.setattr(status_list, "reading", down)
    kept._until = 0.0
    assert api.get(PATH).content == first.content
    assert [line["event"] for line in lines] == ["status list not renewed"]


def test_slow_renewal_keeps_nobody_waiting(api, kept):
    first = api.get(PATH)
    kept._until = 0.0
    with kept._renewing:
        assert api.get(PATH).content == first.content
