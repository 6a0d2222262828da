"""Sell the next period of a license: an invoice on the terms of its subscription.

`settlement.renew` extends the license once it settles.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from keysat.accounts.selling import choose_account
from keysat.core.db import Database
from keysat.core.errors import Conflict, require
from keysat.core.hints import Hint
from keysat.core.money import DECIMALS, Money
from keysat.invoices import draft
from keysat.models import Invoice, License, Policy, Product, Subscription
from keysat.models.audit import audit
from keysat.models.holders import holder_email
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus
from keysat.providers.base import NewInvoice
from keysat.queue.outbox import EventType, emit_invoice
from keysat.sales.purchase import Opened, PageOf, ask_again, finish
from keysat.settlement.issue import issue
from keysat.subscriptions.extend import locked_license
from keysat.subscriptions.terms import require_subscription

# An invoice that can be paid for less time isn't shown again.
_TIME_TO_PAY = timedelta(minutes=2)


def renew(database: Database, license_id: UUID, actor: str, page_of: PageOf, redirect_url: str | None = None) -> UUID:
    """Open the invoice for a license's next period, or return the one that can be paid. Returns its id.

    A free period is added at once. `page_of` gives the URL of an invoice's page, where the buyer returns to unless
    `redirect_url` names another one.

    Raises:
        NotFound: no such license.
        Conflict: it can't be renewed, or not yet, or another request opens its renewal at this moment.
        SalesUnavailable: its account can't take a payment now.
        CallFailed: the provider created no invoice, or it is unknown whether it did.
    """
    with database.transaction() as session:
        require(session.get(License, license_id), "license", license_id, Hint.LIST_LICENSES)
        row = locked_license(session, license_id)
        subscription = require_subscription(session, license_id)
        opened = _known(session, row, subscription, page_of, redirect_url) or _open(
            session, row, subscription, actor, page_of, redirect_url
        )
    return finish(database, opened, actor)


def price_of_renewal(session: Session, row: License) -> Money | None:
    """Return the price of a license's next period if it may be paid now, or None."""
    found = session.scalar(select(Subscription).where(Subscription.license_id == row.id)) if row.is_recurring else None
    return None if found is None or _refusal(session, row, found) else Money(found.amount, found.currency)


def _known(
    session: Session, row: License, subscription: Subscription, page_of: PageOf, redirect_url: str | None
) -> Opened | None:
    """Return the renewal that is open: one that is being paid, or that can be paid for long enough."""
    payable = or_(
        Invoice.expires_at.is_(None),
        Invoice.expires_at > func.now() + _TIME_TO_PAY,
        Invoice.payment_seen_at.is_not(None),
    )
    same = (Invoice.amount == subscription.amount, Invoice.currency == subscription.currency)
    wanted = select(Invoice).where(Invoice.target_license_id == row.id, Invoice.status == InvoiceStatus.PENDING)
    newest = wanted.where(*same, payable).order_by(Invoice.created_at.desc()).limit(1)
    known = session.scalars(newest).first()
    if known is None:
        return None
    if not known.is_draft:
        return Opened(known.id)
    ask_again(session, known)
    account = choose_account(session, account_id=known.provider_account_id)
    return Opened(known.id, account, _wanted(session, known, page_of, redirect_url), resumed=True)


def _open(
    session: Session,
    row: License,
    subscription: Subscription,
    actor: str,
    page_of: PageOf,
    redirect_url: str | None,
) -> Opened:
    refusal = _refusal(session, row, subscription)
    if refusal is not None:
        raise Conflict(refusal)
    product, policy = session.get_one(Product, row.product_id), session.get_one(Policy, row.policy_id)
    price = Money(subscription.amount, subscription.currency)
    named = subscription.provider_account_id or product.provider_account_id
    account = choose_account(session, account_id=named) if price.amount else None
    buyer = holder_email(session, row)
    invoice = draft.write(session, draft.Draft(account, product, policy, price, price, buyer, target_license_id=row.id))
    audit(session, actor, "invoice.renewal_opened", invoice.id, license_id=str(row.id), price=str(price))
    if account is None:
        emit_invoice(session, EventType.INVOICE_SETTLED, invoice.id)
        issue(session, invoice.id, row.signer, actor)
        return Opened(invoice.id)
    return Opened(invoice.id, account, _wanted(session, invoice, page_of, redirect_url))


def _refusal(session: Session, row: License, subscription: Subscription) -> str | None:
    """Return why the next period can't be paid now, as a sentence, or None."""
    if row.status != LicenseStatus.ACTIVE:
        return f"license {row.id} is {row.status}, so it can't be renewed."
    if row.expires_at is None:
        return f"license {row.id} has no end, so there is nothing to renew."
    if subscription.currency not in DECIMALS:
        return f"license {row.id} is renewed in {subscription.currency}, which this version can't charge."
    now = session.scalars(select(func.now())).one()
    if row.expires_at - now > timedelta(seconds=subscription.period_seconds):
        return f"license {row.id} is paid for more than a period ahead; renew it later."
    return None


def _wanted(session: Session, renewal: Invoice, page_of: PageOf, redirect_url: str | None) -> NewInvoice:
    # Without the policy: a sweep would sell a license for it.
    product, policy = session.get_one(Product, renewal.product_id), session.get_one(Policy, renewal.policy_id)
    price = Money(renewal.amount, renewal.currency)
    url = redirect_url or page_of(renewal.id)
    return NewInvoice(str(renewal.id), price, f"{product.name}: {policy.name}", renewal.buyer_email, url)
