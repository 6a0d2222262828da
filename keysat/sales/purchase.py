"""Starting a purchase: a draft of the invoice, the slot of the code, the invoice at the provider; or a free license.

The draft is committed before the provider is asked, with our id as its order id. Whatever dies in between, the invoice
that the provider made is found by that id and adopted, by the next scan or by the buyer's next try under the same
idempotency key; no second one is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat import metrics
from keysat.codes.reserve import cancel, reserve
from keysat.db import Begin
from keysat.errors import (
    Conflict,
    CredentialsRejected,
    InvalidInput,
    KeysatError,
    PermissionMissing,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    SettingsError,
)
from keysat.events import EventType, emit_invoice
from keysat.invoices import draft
from keysat.logs import get_logger
from keysat.models import Invoice, Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.discount_code import CodeKind
from keysat.models.invoice import InvoiceStatus
from keysat.money import Money
from keysat.providers.accounts import choose_account
from keysat.providers.base import CreatedInvoice, NewInvoice
from keysat.providers.registry import provider_for
from keysat.providers.trouble import note_failure
from keysat.sales.quote import quote
from keysat.settlement.issue import issue

log = get_logger(__name__)

# After these the provider made no invoice for certain; after any other error it may have.
_REFUSALS = (RemoteRefused, CredentialsRejected, RemoteNotFound, SettingsError, InvalidInput)


@dataclass(frozen=True)
class Order:
    """What a buyer asks for; slugs, and a code in any case.

    `account` names the provider account, None takes the first that can be asked. `only_free`: refuse unless the code
    gives the license for nothing. The same `idempotency_key` with the same order leads to the same invoice.
    """

    product: str
    policy: str | None = None
    code: str | None = None
    buyer_email: str | None = None
    buyer_note: str | None = None
    redirect_url: str | None = None
    account: str | None = None
    only_free: bool = False
    idempotency_key: str | None = None

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of all but the idempotency key."""
        facts = {name: value for name, value in asdict(self).items() if name != "idempotency_key"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()


@dataclass(frozen=True)
class _Opened:
    """An invoice's row, and what the provider is still to be asked for it; `resumed`: it may have been asked before."""

    invoice_id: UUID
    account: ProviderAccount | None = None
    wanted: NewInvoice | None = None
    resumed: bool = False


def purchase(begin: Begin, order: Order, signer_id: Callable[[], str], actor: str) -> UUID:
    """Open an invoice for an order, or issue its free license; returns the invoice's id.

    Raises:
        NotFound: no such product, policy, code or account.
        Conflict: the code can't be used or is used up; the account is paused; the idempotency key came with another
            order, or with this one and its purchase is still in progress.
        InvalidInput: only a free license was wanted, and the code gives none.
        RemoteError: the provider made no invoice, or it isn't known whether it did.
    """
    with begin() as session:
        opened = _known(session, order) or _open(session, order, signer_id, actor)
    if opened.account is not None and opened.wanted is not None:
        created = _ask(begin, opened.account, opened.wanted, actor, resumed=opened.resumed)
        with begin() as session:
            draft.adopt(session, opened.invoice_id, opened.account.id, created)
    return opened.invoice_id


def _known(session: Session, order: Order) -> _Opened | None:
    """What an earlier request with the same idempotency key opened."""
    if order.idempotency_key is None:
        return None
    # Of two requests with one key at once, the second waits here until the first one's row is there.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(order.idempotency_key, 0))))
    row = session.execute(
        select(Invoice, func.now()).where(Invoice.idempotency_key == order.idempotency_key)
    ).one_or_none()
    if row is None:
        return None
    invoice, now = row
    if invoice.request_hash != order.fingerprint:
        raise Conflict("this idempotency key was used for another request; use a new one.")
    if not invoice.is_draft:
        return _Opened(invoice.id)
    if invoice.status != InvoiceStatus.PENDING:
        raise Conflict("this purchase came to nothing; start a new one, with another idempotency key.")
    if now - invoice.asked_at < draft.IN_PROGRESS:
        raise Conflict("this purchase is still in progress; ask again in a moment, with the same idempotency key.")
    invoice.asked_at = now  # so that whoever comes next waits for us
    account = session.get_one(ProviderAccount, invoice.provider_account_id)
    return _Opened(invoice.id, account, _wanted(session, invoice, order), resumed=True)


def _open(session: Session, order: Order, signer_id: Callable[[], str], actor: str) -> _Opened:
    offer = quote(session, order.product, order.policy, order.code)
    if order.only_free and (offer.code is None or offer.code.kind != CodeKind.FREE_LICENSE):
        raise InvalidInput(f"code {order.code} doesn't give a license for free; use it with a purchase.")
    free = offer.price.amount == 0
    account = None if free else choose_account(session, order.account)
    invoice = draft.write(
        session,
        draft.Draft(
            account,
            offer.product,
            offer.policy,
            offer.base,
            offer.price,
            order.buyer_email,
            order.buyer_note,
            order.idempotency_key,
            order.fingerprint if order.idempotency_key else None,
        ),
    )
    if offer.code is not None:
        reserve(session, offer.code, invoice.id, offer.discount)
    payee = account.name if account else None
    audit(session, actor, "invoice.opened", invoice.id, price=str(offer.price), account=payee, code=order.code)
    if account is None:
        emit_invoice(session, EventType.INVOICE_SETTLED, invoice.id)
        issue(session, invoice.id, signer_id(), actor)
        return _Opened(invoice.id)
    return _Opened(invoice.id, account, _wanted(session, invoice, order))


def _wanted(session: Session, invoice: Invoice, order: Order) -> NewInvoice:
    product, policy = session.get_one(Product, invoice.product_id), session.get_one(Policy, invoice.policy_id)
    price = Money(invoice.amount, invoice.currency)
    description = f"{product.name}: {policy.name}"
    return NewInvoice(str(invoice.id), price, description, order.buyer_email, order.redirect_url, policy.id)


def _ask(begin: Begin, account: ProviderAccount, wanted: NewInvoice, actor: str, *, resumed: bool) -> CreatedInvoice:
    """Ask the provider for the invoice, or for the one it made before we died. No transaction is open meanwhile."""
    may_exist = resumed
    try:
        provider = provider_for(account)
        if resumed:
            with metrics.provider_call(account.name, "find_invoices"):
                made_before = draft.best(provider.find_invoices(wanted.order_id))
            if made_before is not None:
                return made_before.created
            may_exist = False
        with metrics.provider_call(account.name, "create_invoice"):
            return provider.create_invoice(wanted)
    except (RemoteError, SettingsError, InvalidInput) as error:
        about_account = not _of_this_purchase(account, error)
        with begin() as session:
            if about_account:
                note_failure(session, account.id, account.sealed_credentials, error)
            refused = isinstance(error, _REFUSALS) and not may_exist
            # A scan may have found and adopted an invoice meanwhile; that one stands, and so does its slot.
            if refused and draft.close(session, UUID(wanted.order_id), f"the provider refused it: {error}", actor):
                cancel(session, UUID(wanted.order_id), actor)
        raise


def _of_this_purchase(account: ProviderAccount, error: KeysatError) -> bool:
    """Whether a refusal says nothing of the account: buyers choose what is in a purchase, and others need the account.

    A 403 may come from the provider, or from whatever stands before it and dislikes this one request.
    """
    if not isinstance(error, PermissionMissing):
        return isinstance(error, RemoteRefused)
    try:
        provider_for(account).check_credentials()
    except RemoteError as worse:
        log.info("the credentials don't pass either", account=account.name, reason=str(worse))
        return False
    return True
