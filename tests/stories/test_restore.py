"""README's restore of a dump of each revision over today's schema: nothing is lost, and no tip is paid twice."""

from uuid import uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, func, insert, select, text, update

from keysat import migrations
from keysat.core.db import DATABASE, engine, reading, transaction
from keysat.core.secrets import seal, secret_box
from keysat.core.settings import load_settings
from keysat.models import Invoice, License, Tip
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.tips.manage import retry_tip
from keysat.tips.pay import Payer, pay
from tests.builders import SECRET, STORE
from tests.cli.conftest import keysat
from tests.dumps import dump_to, restore_from, run
from tests.test_migrations import fresh_database

assert keysat
REVISIONS = sorted(script.revision for script in ScriptDirectory.from_config(migrations._config()).walk_revisions())
TIPS = ("owed", "paying", "sent")
BEFORE_TIPS, BEFORE_EPOCHS, LATEST = "0003", "0008", REVISIONS[-1]


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("KEYSAT_TIP_ALLOWED_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("KEYSAT_LIGHTNING_NETWORK", "regtest")
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.url = server.url
        client.register_store(STORE, "key-of-test-store")
        yield client


@pytest.fixture
def database(monkeypatch, settings, provider):
    with fresh_database(monkeypatch, settings):
        yield


def upgrade_to(revision):
    with engine().begin() as connection:
        command.upgrade(migrations._config(connection), revision)


class Seed:
    """Rows of a shop, as far as a revision has their tables and columns."""

    def __init__(self, connection):
        self.connection, self.tables = connection, MetaData()
        self.tables.reflect(connection)

    def add(self, table, **facts):
        row = {"id": uuid4(), **facts}
        found = self.tables.tables.get(table)
        if found is not None:
            self.connection.execute(
                insert(Table(table, self.tables)).values({k: v for k, v in row.items() if k in found.c})
            )
        return row["id"]

    def sell(self, account, product, policy, **facts):
        order = uuid4()
        sold = {"amount": 21_000, "base_amount": 21_000, "currency": "BTC", "provider_invoice_id": str(order)}
        where = {
            "provider_account_id": account,
            "product_id": product,
            "policy_id": policy,
            "checkout_url": "https://a/",
        }
        return self.add("invoices", id=order, **sold, **where, **facts)

    def license(self, invoice, product, policy, status):
        terms = {"is_trial": False, "max_machines": 1, "grace_seconds": 0, "entitlements": [], "signer": "s"}
        facts = {"invoice_id": invoice, "product_id": product, "policy_id": policy, "source": "purchase"}
        return self.add("licenses", **facts, **terms, status=status, issued_at=func.now())


def fill(url):
    """A BTCPay and a Zaprite account, a pending invoice, a revoked license, and tips of each kind."""
    sealed = seal(secret_box(load_settings()), {"api_key": "key-of-test-store", "webhook_secret": SECRET})
    settled = {"status": "settled", "settled_at": func.now(), "fulfilled_at": func.now(), "paid_amount": 21_000}
    with engine().begin() as connection:
        seed = Seed(connection)
        product = seed.add("products", slug="editor", name="Editor", price_amount=21_000)
        policy = seed.add("policies", product_id=product, slug="standard", name="Standard")
        at_btcpay, at_zaprite = (
            seed.add("provider_accounts", name=kind, kind=kind, base_url=url, store_id=store, sealed_credentials=sealed)
            for kind, store in (("btcpay", STORE), ("zaprite", "-"))
        )
        seed.sell(at_btcpay, product, policy, next_check_at=func.now())
        for account, status in ((at_zaprite, "active"), (at_btcpay, "revoked")):
            seed.license(seed.sell(account, product, policy, **settled), product, policy, status)
        for status in TIPS:
            invoice = seed.sell(at_btcpay, product, policy, **settled)
            tip = {"license_id": seed.license(invoice, product, policy, "active"), "invoice_id": invoice}
            tip |= {"provider_account_id": at_btcpay, "recipient": f"dev@{url.partition('://')[2]}", "status": status}
            paying = {"payment_hash": uuid4().hex * 2, "paying_since": func.now(), "payable_until": func.now()}
            due = {"next_attempt_at": None if status == "sent" else func.now()}
            seed.add("tips", **tip, amount_msat=1_050_000, **due, **({} if status == "owed" else paying))


def count(table):
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def drill(dump, keysat):
    """The commands of README's Backups, from the empty database to the doctor."""
    restore_from(dump)
    for arguments in (["db", "upgrade"], ["db", "restored"], ["db", "restored"], ["db", "check"]):
        finished = keysat(*arguments)
        assert (finished.code, "Traceback" in finished.err) == (0, False), finished


@pytest.mark.parametrize("revision", REVISIONS)
def test_dump_of_each_revision_is_restored_and_no_tip_is_paid_twice(database, provider, keysat, tmp_path, revision):
    upgrade_to(revision)
    fill(provider.url)
    dump = tmp_path / "keysat.dump"
    dump_to(dump)
    migrations.upgrade()
    with transaction() as session:  # after the dump the tips were paid
        session.execute(update(Tip).values(status="sent", next_attempt_at=None))
    drill(dump, keysat)
    if revision == LATEST:  # a dump of what was restored is as good
        dump_to(dump)
        drill(dump, keysat)
    assert (count(Invoice), count(License)) == (6, 5)
    with reading() as session:
        assert session.scalars(select(License.status).where(License.status == "revoked")).all() == ["revoked"]
        tips = session.execute(select(Tip.id, Tip.status)).all()
    assert sorted(status for _, status in tips) == (sorted(TIPS) if revision >= "0004" else [])
    payer = Payer.of(load_settings())
    after = {status: pay(DATABASE, payer, tip_id, actor="tips") for tip_id, status in tips}
    assert after in ({}, {"owed": "held", "paying": "paying", "sent": "sent"})
    assert provider.lightning_payments() == []
    for tip_id, status in tips:
        if status == "owed":
            with transaction() as session:
                retry_tip(session, tip_id, "the node has no payment of it", actor="cli")
            assert pay(DATABASE, payer, tip_id, actor="tips") == "sent"


@pytest.mark.parametrize("revision", [REVISIONS[0], BEFORE_TIPS, BEFORE_EPOCHS, LATEST])
def test_dump_that_was_restored_over_other_tables_is_refused_in_a_sentence(
    database, provider, keysat, tmp_path, revision
):
    upgrade_to(revision)
    fill(provider.url)
    dump = tmp_path / "keysat.dump"
    dump_to(dump)
    migrations.upgrade()
    engine().dispose()
    run("pg_restore", "--clean", "--if-exists", "--no-owner", str(dump), check=False)
    finished = keysat("db", "upgrade")
    assert "Traceback" not in finished.err
    assert finished.code == 0 or "empty database" in finished.refusal  # nothing is left without newer tables
    drill(dump, keysat)


def test_restore_is_detected(database, provider, keysat, tmp_path):
    migrations.upgrade()
    fill(provider.url)
    dump = tmp_path / "keysat.dump"
    dump_to(dump)
    restore_from(dump)
    with reading() as session:
        tip_id = session.scalar(select(Tip.id).where(Tip.status == "owed"))
    assert pay(DATABASE, Payer.of(load_settings()), tip_id, actor="tips") == "held"
    assert provider.lightning_payments() == []


def test_half_a_restore_is_refused_in_a_sentence(database, keysat):
    migrations.upgrade()
    with transaction() as session:
        session.execute(text("DROP TABLE alembic_version"))
    assert "empty database" in keysat("db", "upgrade").refusal


def test_dump_of_a_newer_version_is_refused_in_a_sentence(database, keysat):
    migrations.upgrade()
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for arguments in (["db", "upgrade"], ["db", "restored"]):
        assert "install the version" in keysat(*arguments).refusal
    assert "install the version" in keysat("status").err
