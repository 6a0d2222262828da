"""Rows for tests, made the way the product makes them."""

import hashlib
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update

from keysat.accounts.manage import NewAccount, add_account, find_account
from keysat.catalog.products import add_policy, add_product
from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.money import Money
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.licenses.machines import list_machines
from keysat.licenses.signer import load_signer
from keysat.models import AuditLine, Invoice, License, Machine, ProviderAccount
from keysat.sales.grant import grant
from keysat.sales.purchase import Order, purchase
from keysat.settlement.issue import issue
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.reconcile import reconcile
from tests.canaries import GIVEN

FAKE_URL = "fake://tests"
STORE = "store-of-tests"
PRICE = 21_000
SECRET = "webhook-secret-of-the-test-store"


def make_account(name="main", kind="fake", base_url=FAKE_URL, store_id=STORE, api_key="key-of-test-store"):
    """Add a provider account, by default of the fake provider."""
    with transaction() as session:
        return add_account(
            session,
            secret_box(load_settings()),
            NewAccount(
                name=name,
                kind=kind,
                base_url=base_url,
                store_id=store_id,
                api_key=api_key,
                webhook_secret=SECRET,
            ),
            actor="cli",
        )


def make_catalog(slug="editor", price=Money(PRICE, "BTC"), terms=None):  # noqa: B008 - frozen
    """A product with one policy, `standard`."""
    with transaction() as session:
        product = add_product(session, slug, slug.title(), price, actor="cli")
        add_policy(session, slug, "standard", "Standard", terms or Terms(entitlements=("export",)), actor="cli")
        return product


def make_shop():
    """An account and a catalog: all that is needed to open invoices."""
    with reading() as session:
        if find_account(session, "main") is not None:
            return
    make_account()
    make_catalog()


def make_invoice(account="main", product="editor", **facts):
    """Open an invoice, then set the columns in `facts` directly."""
    make_shop()
    invoice_id = open_invoice(Order(product, account=account, buyer_email="buyer@example.com"))
    if facts:
        set_columns(invoice_id, **facts)
    return load_invoice(invoice_id)


def prove_payment(invoice_id: UUID, preimage: str = GIVEN["a buyer's preimage"]) -> str:
    """Let a Lightning payment with that preimage, in hex, have paid an invoice. Returns the preimage."""
    set_columns(invoice_id, payment_hashes=[hashlib.sha256(bytes.fromhex(preimage)).digest()])
    return preimage


def open_invoice(order: Order) -> UUID:
    """Purchase as the API does."""
    return purchase(DATABASE, order, lambda: load_signer(load_settings().signing_key_file).key_id, "cli")


def make_due(invoice_id: UUID, ago: timedelta = timedelta(seconds=1)):
    """Let an invoice be due since `ago`."""
    set_columns(invoice_id, next_check_at=func.now() - ago)


def set_columns(invoice_id: UUID, **facts):
    """Write columns of an invoice directly."""
    with transaction() as session:
        session.execute(update(Invoice).where(Invoice.id == invoice_id).values(facts))


def set_account(name: str = "main", **facts):
    """Write columns of a provider account directly."""
    with transaction() as session:
        session.execute(update(ProviderAccount).where(ProviderAccount.name == name).values(facts))


def load_invoice(invoice_id: UUID) -> Invoice:
    """The invoice as it is now."""
    with reading() as session:
        return session.get_one(Invoice, invoice_id)


def invoice_of(token: str) -> UUID:
    """The invoice's id in what a buyer polls a purchase with."""
    return UUID(token.partition(".")[0])


def load_account(name: str = "main") -> ProviderAccount:
    """The provider account as it is now."""
    with reading() as session:
        account = find_account(session, name)
        assert account is not None
        return account


def load_licenses(invoice_id: UUID | None = None) -> list[License]:
    """All licenses, or those of an invoice."""
    wanted = select(License).order_by(License.id)
    if invoice_id is not None:
        wanted = wanted.where(License.invoice_id == invoice_id)
    with reading() as session:
        return list(session.scalars(wanted))


def make_license(slug="editor", terms=None, **facts) -> License:
    """Grant a license of a new product by hand, then set the columns in `facts` directly."""
    make_catalog(slug, terms=terms)
    with transaction() as session:
        signer_id = load_signer(load_settings().signing_key_file).key_id
        license_id = grant(session, slug, None, "for the tests", signer_id, "cli").id
    set_license(license_id, **facts)
    with reading() as session:
        return session.get_one(License, license_id)


def set_license(license_id: UUID, **facts):
    """Write columns of a license directly."""
    if facts:
        with transaction() as session:
            session.execute(update(License).where(License.id == license_id).values(facts))


def load_machines(license_id: UUID) -> list[Machine]:
    """The machines of a license, oldest first."""
    with reading() as session:
        return list_machines(session, license_id)[::-1]


def audit_actions(subject_id: UUID) -> list[str]:
    """Return the audit log's actions on a row, in order."""
    with reading() as session:
        lines = select(AuditLine.action).where(AuditLine.subject_id == subject_id).order_by(AuditLine.id)
        return list(session.scalars(lines))


def check_invoice(invoice_id: UUID, rules: SettlementRules | None = None):
    """Reconcile an invoice here and now."""
    return reconcile(DATABASE, invoice_id, rules or SettlementRules(), actor="reconcile")


def issue_now(invoice_id: UUID, signer_id: str):
    """Issue an invoice's license here and now."""
    with transaction() as session:
        return issue(session, invoice_id, signer_id, actor="issue")
