"""Opening an invoice: what to charge, asking the provider for it, and the row that will be watched.

The provider is asked outside any transaction. A crash between its answer and our row leaves an unpaid invoice at the
provider that no buyer was ever shown.
"""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.catalog import price_of, require_product
from keysat.db import Begin
from keysat.errors import Conflict, InvalidInput, NotFound, RemoteAnswerInvalid
from keysat.invoices.schedule import STEPS
from keysat.models import Invoice, Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.invoice import InvoiceStatus
from keysat.providers.base import NewInvoice
from keysat.providers.registry import provider_for

FIRST_LOOK = STEPS[InvoiceStatus.PENDING][0].every
Row = TypeVar("Row")


def open_invoice(
    begin: Begin,
    *,
    product: str,
    policy: str | None = None,
    account: str | None = None,
    buyer_email: str | None = None,
    buyer_note: str | None = None,
    redirect_url: str | None = None,
    actor: str = "cli",
) -> Invoice:
    """Ask the provider for an invoice and store it as pending, due for its first look in 30 seconds.

    `product`, `policy` and `account` are slugs and a name; the last two may be left out where there is only one.

    Raises:
        NotFound: no such product, policy or account.
        InvalidInput: several policies or accounts, and none named; or nothing is to be paid.
        Conflict: the account is paused.
        RemoteError: the provider made no invoice; nothing was stored.
    """
    with begin() as session:
        terms = _policy(session, product, policy)
        payee = _account(session, account)
        sold = session.get_one(Product, terms.product_id)
    price = price_of(sold, terms)
    if price.amount == 0:
        raise InvalidInput(f"policy {terms.slug} of {product} costs nothing, so there is no invoice to open.")
    invoice_id: UUID = uuid7()
    created = provider_for(payee).create_invoice(
        NewInvoice(str(invoice_id), price, f"{sold.name}: {terms.name}", buyer_email, redirect_url)
    )
    invoice = Invoice(
        id=invoice_id,
        provider_account_id=payee.id,
        provider_invoice_id=created.provider_invoice_id,
        product_id=sold.id,
        policy_id=terms.id,
        amount=price.amount,
        currency=price.currency,
        buyer_email=buyer_email,
        buyer_note=buyer_note,
        checkout_url=created.checkout_url,
    )
    with begin() as session:
        _store(session, invoice)
        audit(session, actor, "invoice.opened", invoice_id, price=str(price), account=payee.name)
    return invoice


def _store(session: Session, invoice: Invoice) -> None:
    same = select(Invoice.id).where(
        Invoice.provider_account_id == invoice.provider_account_id,
        Invoice.provider_invoice_id == invoice.provider_invoice_id,
    )
    if session.scalar(same) is not None:
        raise RemoteAnswerInvalid(
            f"the provider answered with invoice {invoice.provider_invoice_id}, made before; nothing was stored."
        )
    invoice.next_check_at = session.scalar(select(func.now() + FIRST_LOOK))
    session.add(invoice)
    session.flush()
    session.refresh(invoice)


def _policy(session: Session, product: str, policy: str | None) -> Policy:
    wanted = select(Policy).where(Policy.product_id == require_product(session, product).id)
    rows = session.scalars(wanted if policy is None else wanted.where(Policy.slug == policy)).all()
    return _the_one(list(rows), "policy", policy, f"see `keysat policy list {product}`, `keysat policy add`.")


def _account(session: Session, account: str | None) -> ProviderAccount:
    wanted = select(ProviderAccount)
    rows = session.scalars(wanted if account is None else wanted.where(ProviderAccount.name == account)).all()
    found = _the_one(list(rows), "provider account", account, "`keysat provider list` shows them.")
    if found.paused_at is not None:
        raise Conflict(
            f"provider account {found.name} is paused ({found.pause_reason}); `keysat provider resume {found.name}`."
        )
    return found


def _the_one(rows: list[Row], noun: str, wanted: str | None, hint: str) -> Row:
    if not rows:
        raise NotFound(noun, wanted or "at all", hint)
    if len(rows) > 1:
        raise InvalidInput(f"there is more than one {noun}, so name it; {hint}")
    return rows[0]
