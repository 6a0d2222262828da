"""The migrations make the declared schema, on any database, from any number of processes at once."""

import multiprocessing
from contextlib import contextmanager
from uuid import uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text

from keysat import migrations
from keysat.core.db import Base, engine, reading, transaction
from keysat.core.errors import SchemaOutdated, SchemaUnknown
from keysat.core.hints import Hint
from keysat.core.settings import load_settings

RACERS = 8

# Everything that distinguishes two schemas, as PostgreSQL describes it.
DESCRIPTIONS = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
# A purchase, and rests of it: paid, paid in part, by hand, gone back, not paid.
OLDER_RESTS = """
    WITH made AS (INSERT INTO products (id, slug, name, price_amount) VALUES (gen_random_uuid(), 'a', 'A', 1)
        RETURNING id),
    policy AS (INSERT INTO policies (id, product_id, slug, name)
        SELECT gen_random_uuid(), id, 'a', 'A' FROM made RETURNING id, product_id),
    account AS (INSERT INTO provider_accounts (id, name, kind, base_url, store_id, sealed_credentials)
        VALUES (gen_random_uuid(), 'a', 'fake', 'fake://a', 'a', '') RETURNING id),
    purchase AS (INSERT INTO invoices (id, provider_account_id, product_id, policy_id, base_amount, amount, currency)
        SELECT gen_random_uuid(), account.id, product_id, policy.id, 21000, 21000, 'BTC' FROM account, policy
        RETURNING *)
    INSERT INTO invoices (id, provider_account_id, product_id, policy_id, currency, status, settled_at, rest_of_id,
        base_amount, amount, paid_amount, settled_by_hand, fulfilled_at, reversed_at)
    SELECT gen_random_uuid(), provider_account_id, product_id, policy_id, 'BTC', 'settled', now(), id, rest.*
    FROM purchase, (VALUES
        (21001, 6000, 7000, false, now(), null::timestamptz), (21002, 6000, 5000, false, now(), null),
        (21003, 11000, null, true, now(), null), (21004, 6000, 6000, false, now(), now()),
        (21005, 6000, 6000, false, null, null)
    ) AS rest
"""
# Two licenses, the end of one of which was changed by hand.
OLDER_LICENSES = """
    WITH made AS (INSERT INTO products (id, slug, name, price_amount) VALUES (gen_random_uuid(), 'a', 'A', 1)
        RETURNING id),
    policy AS (INSERT INTO policies (id, product_id, slug, name)
        SELECT gen_random_uuid(), id, 'a', 'A' FROM made RETURNING id, product_id),
    license AS (INSERT INTO licenses (id, product_id, policy_id, source, is_trial, max_machines, grace_seconds,
            entitlements, issued_at, signer)
        SELECT gen_random_uuid(), product_id, id, 'manual', false, seats, 0, '{}', now(), 'a'
        FROM policy, (VALUES (1), (2)) AS of (seats) RETURNING *)
    INSERT INTO audit_log (actor, action, subject_id, detail)
    SELECT 'cli', 'license.changed', id, jsonb_build_object('fields', ARRAY[changed])
    FROM license, (VALUES (1, 'max_machines'), (2, 'expires_at')) AS of (seats, changed)
    WHERE of.seats = license.max_machines
"""
ALEMBICS_OWN = "alembic_version"


def forget_cached():
    engine().dispose()
    engine.cache_clear()
    load_settings.cache_clear()


@contextmanager
def fresh_database(monkeypatch, settings):
    """An empty database on the tests' server, in which Keysat works while the block lasts."""
    name = f"fresh_{uuid4().hex}"
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(settings.database_url).set(database=name)
    try:
        with monkeypatch.context() as patch:
            patch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
            forget_cached()
            yield
            forget_cached()
    finally:
        forget_cached()
        with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def fresh(monkeypatch, settings):
    with fresh_database(monkeypatch, settings):
        yield


def describe():
    with reading() as session:
        rows = {what: session.execute(text(query)).all() for what, query in DESCRIPTIONS.items()}
    return {
        what: sorted(tuple(row) for row in found if row[0] != ALEMBICS_OWN and not row[1].startswith(ALEMBICS_OWN))
        for what, found in rows.items()
    }


def test_migrations_make_the_declared_schema(monkeypatch, settings):
    with fresh_database(monkeypatch, settings):
        Base.metadata.create_all(engine())
        declared = describe()
    with fresh_database(monkeypatch, settings):
        migrations.upgrade()
        migrated = describe()
    assert len(declared["columns"]) > 50
    for what, rows in declared.items():
        assert migrated[what] == rows


def test_revisions_are_the_numbers_in_the_names_of_their_files():
    """The head and the known revisions are read from these names, without importing Alembic."""
    scripts = list(ScriptDirectory.from_config(migrations._config()).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == migrations._revisions()
    assert migrations.head() == scripts[0].revision


def test_alembic_finds_no_differences_either(fresh):
    migrations.upgrade()
    assert migrations.differences() == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE licenses DROP CONSTRAINT uq_licenses_invoice_id",
        "ALTER TABLE invoices DROP CONSTRAINT ck_invoices_settled_at",
        "ALTER TABLE invoices DROP CONSTRAINT fk_invoices_policy_id",
        "ALTER TABLE invoices ALTER COLUMN status DROP NOT NULL",
        "ALTER TABLE invoices ALTER COLUMN status DROP DEFAULT",
        "ALTER TABLE invoices ADD COLUMN surprise text",
        "DROP INDEX ix_invoices_due",
        "DROP INDEX ix_invoices_due; CREATE INDEX ix_invoices_due ON invoices (provider_account_id, next_check_at)",
    ],
    ids=["unique", "check", "foreign key", "null", "default", "column", "index", "index predicate"],
)
def test_difference_is_found(fresh, change):
    migrations.upgrade()
    with transaction() as session:
        session.execute(text(change))
    assert migrations.differences()


def test_upgrade_reports_revisions_and_repeats_harmlessly(fresh):
    assert migrations.current() is None
    assert migrations.upgrade() == (None, migrations.head())
    before = describe()
    assert migrations.upgrade() == (migrations.head(), migrations.head())
    assert migrations.current() == migrations.head()
    assert describe() == before


def test_upgrade_keeps_the_rows_that_are_there(fresh):
    migrations.upgrade()
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO products (id, slug, name, price_amount) VALUES (gen_random_uuid(), 'editor', 'Editor', 1)"
            )
        )
    migrations.upgrade()
    with reading() as session:
        assert session.scalar(text("SELECT count(*) FROM products")) == 1


def test_rests_are_credited_as_they_were_before(fresh):
    """What an older version credited, it didn't store."""
    with engine().begin() as connection:
        command.upgrade(migrations._config(connection), "0020")
        connection.execute(text(OLDER_RESTS))
    migrations.upgrade()
    with reading() as session:
        rests = session.execute(text("SELECT base_amount, credited, fulfilled_at IS NULL FROM invoices ORDER BY 1"))
        assert [tuple(rest) for rest in rests] == [
            (21_000, None, True),  # the purchase
            (21_001, 6_000, False),
            (21_002, 5_000, False),
            (21_003, 11_000, False),
            (21_004, None, True),
            (21_005, None, True),
        ]


def test_ends_that_were_changed_before_are_listed(fresh):
    """An older version didn't store whether it moved an end, but the audit log has it."""
    with engine().begin() as connection:
        command.upgrade(migrations._config(connection), "0022")
        connection.execute(text(OLDER_LICENSES))
    migrations.upgrade()
    with reading() as session:
        marks = session.execute(text("SELECT end_extended, end_shortened FROM licenses ORDER BY max_machines"))
        assert [tuple(mark) for mark in marks] == [(False, False), (True, True)]


def test_upgrade_that_fails_changes_nothing(fresh):
    with transaction() as session:
        session.execute(text("CREATE TABLE invoices (id int)"))  # in the way of the first migration
    with pytest.raises(Exception, match='relation "invoices" already exists'):
        migrations.upgrade()
    assert migrations.current() is None
    assert [row[:2] for row in describe()["columns"]] == [("invoices", "id")]


def test_empty_database_is_refused_with_the_hint_that_helps(fresh):
    with pytest.raises(SchemaOutdated, match=r"schema is at nothing.*needs ") as refusal:
        migrations.require_head()
    assert refusal.value.hint is Hint.UPGRADE_SCHEMA


def test_database_of_another_version_is_refused(fresh):
    migrations.upgrade()
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaUnknown, match=r"schema is at 9999.*doesn't know.*install the version"):
        migrations.require_head()
    with pytest.raises(SchemaUnknown, match="schema is at 9999"):
        migrations.upgrade()


def test_database_at_the_head_is_accepted(fresh):
    migrations.upgrade()
    migrations.require_head()


def upgrade_with_others(start, results):
    engine().dispose(close=False)
    start.wait(timeout=120)
    try:
        results.put(migrations.upgrade())
    except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
        results.put(repr(error))


def test_processes_upgrading_at_once_all_succeed_and_one_does_the_work(fresh):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=upgrade_with_others, args=(start, results), daemon=True) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    reports = [results.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(timeout=120)
    head = migrations.head()
    assert sorted(reports, key=str) == sorted([(None, head)] + [(head, head)] * (RACERS - 1), key=str)
    assert migrations.differences() == []
