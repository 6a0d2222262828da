"""Sell the rest of a short payment: a second invoice for what is missing, at the account of the first.

`settlement.rest` credits it to the first one, which then settles.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from keysat.accounts.selling import choose_account
from keysat.core.db import Database
from keysat.core.errors import Conflict, require
from keysat.core.hints import Hint
from keysat.core.money import Money
from keysat.invoices import draft
from keysat.invoices.rest import (
    current_of,
    missing_of,
    pending_rest,
    short_of,
    waits_for_confirmation,
)
from keysat.models import Invoice, Policy, Product
from keysat.models.audit import audit
from keysat.models.holders import purchase_of
from keysat.providers.base import NewInvoice
from keysat.sales.purchase import Opened, PageOf, ask_again, finish
from keysat.settlement.rest import lock_family


def pay_rest(database: Database, invoice_id: UUID, actor: str, page_of: PageOf) -> UUID:
    """Open the invoice for what is missing of a purchase, or return the one that is open. Returns its id.

    `invoice_id` is the purchase's, or that of one of its rests. `page_of` gives the URL of the purchase's page, where
    the buyer returns to.

    Raises:
        NotFound: no such invoice.
        Conflict: nothing is missing, its payment was seen, or another request opens its rest at this moment.
        SalesUnavailable: its account can't take a payment now.
        CallFailed: the provider created no invoice, or it is unknown whether it did.
    """
    with database.transaction() as session:
        opened = _open(session, invoice_id, actor, page_of)
    return finish(database, opened, actor)


def _open(session: Session, invoice_id: UUID, actor: str, page_of: PageOf) -> Opened:
    lock_family(session, invoice_id)  # a person may decide about any part of the purchase
    invoice = require(session.get(Invoice, invoice_id), "invoice", invoice_id, Hint.LIST_INVOICES)
    if waits_for_confirmation(current_of(session, purchase_of(session, invoice))):
        raise Conflict("a payment was seen and waits for its confirmation, so nothing more can be paid now.")
    short = short_of(session, invoice)
    missing = missing_of(short)
    if missing is None:
        raise Conflict("nothing is missing of this purchase that could be paid now.")
    url = page_of(purchase_of(session, short).id)
    known = pending_rest(session, short.id, missing)
    if known is not None and not known.is_draft:
        return Opened(known.id)
    account = choose_account(session, account_id=short.provider_account_id)
    if known is not None:
        ask_again(session, known)
        return Opened(known.id, account, _wanted(session, known, url), resumed=True)
    product, policy = session.get_one(Product, short.product_id), session.get_one(Policy, short.policy_id)
    rest = draft.write(session, draft.Draft(account, product, policy, missing, missing, short.buyer_email))
    rest.rest_of_id = short.id
    audit(session, actor, "invoice.rest_opened", rest.id, rest_of=str(short.id), price=str(missing))
    return Opened(rest.id, account, _wanted(session, rest, url))


def _wanted(session: Session, rest: Invoice, url: str) -> NewInvoice:
    # Without the policy: a sweep would sell a license for it.
    product, policy = session.get_one(Product, rest.product_id), session.get_one(Policy, rest.policy_id)
    price = Money(rest.amount, rest.currency)
    return NewInvoice(str(rest.id), price, f"{product.name}: {policy.name}", rest.buyer_email, url)
