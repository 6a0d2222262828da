"""`keysat db`: the schema's revision, and whether it is as declared."""

import pytest
from sqlalchemy import text

from keysat import migrations
from keysat.core.db import transaction

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture
def change_schema():
    """Runs statements that change the schema, and others that restore it at the end."""
    mending = []

    def run(breaking, mend):
        mending.append(mend)
        with transaction() as session:
            session.execute(text(breaking))

    yield run
    with transaction() as session:
        for statement in mending:
            session.execute(text(statement))


def test_upgrade_of_a_current_schema_changes_nothing(keysat):
    finished = keysat("db", "upgrade")
    assert (finished.code, finished.out) == (0, "")
    assert f"is at {migrations.head()}" in finished.err


def test_current_shows_both_revisions(keysat):
    record = keysat("db", "current", "--json").json
    assert record["found"] == record["needed"] == migrations.head()
    assert record["database"].endswith("/keysat")


def test_check_of_the_declared_schema_is_fine(keysat):
    finished = keysat("db", "check")
    assert (finished.code, finished.out) == (0, "")
    assert "is as declared" in finished.err


def test_check_lists_differences_and_exits_with_3(keysat, change_schema):
    change_schema(
        "ALTER TABLE products ADD COLUMN surprise text",
        "ALTER TABLE products DROP COLUMN surprise",
    )
    finished = keysat("db", "check")
    assert finished.code == 3
    assert "surprise" in finished.out


def test_schema_of_another_version_is_refused(keysat, change_schema):
    change_schema(
        "UPDATE alembic_version SET version_num = '9999'",
        f"UPDATE alembic_version SET version_num = '{migrations.head()}'",
    )
    assert "schema is at 9999" in keysat("db", "check").refusal
    status = keysat("status")
    assert (status.code, "schema is at 9999" in status.err) == (3, True)
    assert keysat("db", "current", "--json").json["found"] == "9999"
