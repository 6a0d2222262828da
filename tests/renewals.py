"""Licenses that are renewed, for the tests: how they are sold, and how a renewal is paid."""

from datetime import timedelta

from sqlalchemy import select

from keysat.catalog.changes import change_policy
from keysat.catalog.terms import Terms
from keysat.core.db import DATABASE, reading, transaction
from keysat.models import Invoice, License, LicenseExtension, Subscription
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.sales.renew import renew
from tests.builders import (
    check_invoice,
    issue_now,
    load_invoice,
    load_licenses,
    make_account,
    make_catalog,
    make_invoice,
    set_license,
)

DAY = timedelta(days=1)
PERIOD = 30 * DAY
GRACE = 7 * DAY
RECURRING = Terms(
    duration_seconds=int(PERIOD.total_seconds()),
    grace_seconds=int(GRACE.total_seconds()),
    is_recurring=True,
    entitlements=("export",),
)


def page_of(invoice_id):
    return f"https://shop.example.com/p/{invoice_id}"


def sell_recurring(fake, signer) -> License:
    """A license for thirty days with a week of grace, sold now."""
    make_account()
    make_catalog(terms=RECURRING)
    invoice = pay(fake, make_invoice(), signer)
    [row] = load_licenses(invoice.id)
    return row


def make_recurring(product="editor", policy="standard"):
    """Let the licenses of a policy that are sold from now on be renewed."""
    changes = {name: getattr(RECURRING, name) for name in ("duration_seconds", "grace_seconds", "is_recurring")}
    with transaction() as session:
        change_policy(session, product, policy, changes, "cli")


def pay(fake, invoice, signer) -> Invoice:
    """Let the provider report an invoice as paid, then check and fulfill it. Returns the invoice afterwards."""
    settle(fake, invoice)
    issue_now(invoice.id, signer.key_id)
    return load_invoice(invoice.id)


def settle(fake, invoice) -> Invoice:
    """Let the provider report an invoice as paid, then check it. Returns the invoice afterwards."""
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, PaymentException.NONE, invoice.amount)
    check_invoice(invoice.id)
    return load_invoice(invoice.id)


def open_renewal(license_id) -> Invoice:
    """The renewal that a license's holder may pay."""
    return load_invoice(renew(DATABASE, license_id, "page", page_of))


def load_license(license_id) -> License:
    """The license as it is now."""
    with reading() as session:
        return session.get_one(License, license_id)


def load_extensions() -> list[LicenseExtension]:
    """All periods that renewals added."""
    with reading() as session:
        return list(session.scalars(select(LicenseExtension).order_by(LicenseExtension.id)))


def load_subscription(license_id) -> Subscription:
    """The subscription of a license as it is now."""
    with reading() as session:
        return session.scalars(select(Subscription).where(Subscription.license_id == license_id)).one()


def let_end(row, ago) -> License:
    """Let a license have ended some time ago. Returns it afterwards."""
    with reading() as session:
        now = session.scalars(select(Invoice.created_at).order_by(Invoice.created_at.desc()).limit(1)).one()
    set_license(row.id, expires_at=(now - ago).replace(microsecond=0))
    return load_license(row.id)
