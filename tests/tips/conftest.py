import pytest
from sqlalchemy import func, select, update

from keysat.catalog.terms import Terms
from keysat.core.db import reading, transaction
from keysat.core.settings import load_settings
from keysat.models import Tip
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from keysat.settlement.issue import issue
from keysat.tips.pay import Payer
from tests.builders import STORE, make_account, make_catalog, make_invoice

ALLOWED = "127.0.0.0/8"


@pytest.fixture
def local_tips(monkeypatch):
    """Settings under which tips go to the sandbox."""
    monkeypatch.setenv("KEYSAT_TIP_ALLOWED_NETWORKS", ALLOWED)
    monkeypatch.setenv("KEYSAT_LIGHTNING_NETWORK", "regtest")
    load_settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def sandbox(empty_database, local_tips):
    """A BTCPay store whose node pays, and a recipient of tips."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.url = server.url
        client.register_store(STORE, "key-of-test-store")
        yield client


@pytest.fixture
def payer(sandbox):
    """What pays tips, with the settings of the moment."""
    return Payer.of(load_settings())


@pytest.fixture
def tipped(sandbox, signer):
    """Sells licenses whose policy tips 5 %. Returns the tip's id."""
    recipient = f"dev@{sandbox.url.partition('://')[2]}"
    make_account(kind="btcpay", base_url=sandbox.url)
    make_catalog(terms=Terms(tip_recipient=recipient, tip_pct_bps=500, tip_label="for the compiler"))

    def sell(**facts):
        invoice = make_invoice(status="settled", settled_at=func.now(), **facts)
        with transaction() as session:
            issue(session, invoice.id, signer.key_id, actor="issue")
        with reading() as session:
            return session.scalar(select(Tip.id).where(Tip.invoice_id == invoice.id))

    return sell


def load_tip(tip_id):
    """The tip as it is now."""
    with reading() as session:
        return session.get_one(Tip, tip_id)


def make_due():
    """Let all tips be due that are pending or looked up."""
    with transaction() as session:
        session.execute(update(Tip).where(Tip.next_attempt_at.is_not(None)).values(next_attempt_at=func.now()))
