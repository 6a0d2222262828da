"""Start a purchase: store an unopened invoice, reserve the code's slot, and open the invoice or issue a free license.

The unopened invoice is committed before the request to the provider, with our id as the order id. If a process dies
in between, the provider's invoice is found by that id and adopted, by the next scan or by the buyer's next request
with the same idempotency key. No second invoice is created. A provider that can't find an invoice by our id may
create a second one at the buyer's next request. No buyer saw the first one. A webhook that names it with our id
adopts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.accounts.breaker import record_create_failure, record_create_success
from keysat.accounts.connect import webhook_url
from keysat.accounts.recheck import pause_rejected, rejection
from keysat.accounts.selling import choose_account
from keysat.codes.reserve import cancel, reserve
from keysat.core.db import Database
from keysat.core.errors import (
    AccountUnusable,
    CallFailed,
    Conflict,
    CredentialsRejected,
    InvalidInput,
    RemoteNotFound,
    RemoteRefused,
    RemoteUnavailable,
)
from keysat.core.logs import get_logger
from keysat.core.money import Money
from keysat.core.settings import load_settings
from keysat.invoices import draft
from keysat.models import Invoice, Policy, Product, ProviderAccount
from keysat.models.audit import audit
from keysat.models.discount_code import CodeKind
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import CreatedInvoice, NewInvoice, Provider
from keysat.providers.registry import provider_for
from keysat.queue.outbox import EventType, emit_invoice
from keysat.sales.order import Order, PurchaseFailed, PurchaseInProgress
from keysat.sales.quote import quote
from keysat.settlement.issue import issue
from keysat.subscriptions.trial import take_trial

log = get_logger(__name__)

# After these errors the provider definitely created no invoice. After any other error it may have.
REFUSALS = (RemoteRefused, CredentialsRejected, RemoteNotFound, AccountUnusable)
# Buyers choose the contents of a purchase, so these errors don't affect other purchases.
_OF_THIS_PURCHASE = (RemoteRefused, CredentialsRejected)


PageOf = Callable[[UUID], str]


@dataclass(frozen=True)
class Opened:
    """An invoice's row, and the pending request to the provider.

    `resumed` means that the request may already have been sent.
    """

    invoice_id: UUID
    account: ProviderAccount | None = None
    wanted: NewInvoice | None = None
    resumed: bool = False


def purchase(
    database: Database, order: Order, signer_id: Callable[[], str], actor: str, page_of: PageOf | None = None
) -> UUID:
    """Open an invoice for an order, or issue its free license. Returns the invoice's id.

    `page_of` gives the URL of an invoice's page, where the buyer returns to unless the order names another one.

    Raises:
        NotFound: no such product, policy, code or account.
        Conflict: the code can't be used or is used up. Or the idempotency key was used with another order, or with
            this order and its purchase is still in progress.
        SalesUnavailable: no selling account can take a payment now.
        TrialUsed: this buyer or machine had a trial of the product.
        TrialNeedsBuyer: nobody knows whose trial it is.
        InvalidInput: the order requires a free license, and the code doesn't give one. Or the code is limited by buyer,
            and the order has no e-mail address.
        CallFailed: the provider created no invoice, or it is unknown whether it did.
    """
    order.check()
    with database.transaction() as session:
        opened = _known(session, order) or _open(session, order, signer_id, actor)
        opened = _returning(opened, page_of)
    return finish(database, opened, actor)


def finish(database: Database, opened: Opened, actor: str) -> UUID:
    """Send an invoice's pending request to the provider, if there is one. Returns the invoice's id. Raises CallFailed.

    No transaction is open.
    """
    if opened.account is not None and opened.wanted is not None:
        created = _ask(database, opened.account, opened.wanted, actor, resumed=opened.resumed)
        with database.transaction() as session:
            draft.adopt(session, opened.invoice_id, opened.account.id, created)
    return opened.invoice_id


def _returning(opened: Opened, page_of: PageOf | None) -> Opened:
    """Let the buyer return to the invoice's page after the payment."""
    if opened.wanted is None or opened.wanted.redirect_url is not None or page_of is None:
        return opened
    return replace(opened, wanted=replace(opened.wanted, redirect_url=page_of(opened.invoice_id)))


def _known(session: Session, order: Order) -> Opened | None:
    """Return the invoice opened by an earlier request with the same idempotency key."""
    if order.idempotency_key is None:
        return None
    # Of two concurrent requests with one key, the second waits here until the first one's row is committed.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(order.idempotency_key, 0))))
    invoice = session.scalar(select(Invoice).where(Invoice.idempotency_key == order.idempotency_key))
    if invoice is None:
        return None
    if invoice.request_hash != order.fingerprint:
        raise Conflict("this idempotency key was used for another request; use a new one.")
    if not invoice.is_draft:
        return Opened(invoice.id)
    if invoice.status != InvoiceStatus.PENDING:
        raise PurchaseFailed
    ask_again(session, invoice)
    account = session.get_one(ProviderAccount, invoice.provider_account_id)
    return Opened(invoice.id, account, _wanted(session, invoice, order), resumed=True)


def ask_again(session: Session, invoice: Invoice) -> None:
    """Go on with an unopened invoice whose process may have died. The next request waits for this one.

    Raises:
        PurchaseInProgress: another process may be at work on it.
    """
    now = session.scalars(select(func.now())).one()
    if now - invoice.asked_at < draft.IN_PROGRESS:
        raise PurchaseInProgress(invoice.id, keyed=invoice.idempotency_key is not None)
    invoice.asked_at = now


def _open(session: Session, order: Order, signer_id: Callable[[], str], actor: str) -> Opened:
    offer = quote(session, order.product, order.policy, order.code)
    if order.only_free and (offer.code is None or offer.code.kind != CodeKind.FREE_LICENSE):
        raise InvalidInput(f"code {order.code} doesn't give a license for free; use it with a purchase.")
    trial_days = offer.policy.trial_days if order.trial and offer.code is None else 0
    if trial_days:
        nothing = Money(0, offer.price.currency)
        offer = replace(offer, base=nothing, price=nothing)
    free = offer.price.amount == 0
    account = None if free else choose_account(session, order.account, offer.product.provider_account_id)
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
            trial_days=trial_days or None,
        ),
    )
    if trial_days:
        take_trial(session, offer.product.id, invoice.id, order.buyer_email, order.machine)
    if offer.code is not None:
        reserve(session, offer.code, invoice.id, offer.discount, order.buyer_email)
    payee = account.name if account else None
    audit(session, actor, "invoice.opened", invoice.id, price=str(offer.price), account=payee, code=order.code)
    if account is None:
        emit_invoice(session, EventType.INVOICE_SETTLED, invoice.id)
        issue(session, invoice.id, signer_id(), actor)
        return Opened(invoice.id)
    return Opened(invoice.id, account, _wanted(session, invoice, order))


def _wanted(session: Session, invoice: Invoice, order: Order) -> NewInvoice:
    product, policy = session.get_one(Product, invoice.product_id), session.get_one(Policy, invoice.policy_id)
    price = Money(invoice.amount, invoice.currency)
    description = f"{product.name}: {policy.name}"
    return NewInvoice(
        str(invoice.id),
        price,
        description,
        order.buyer_email,
        order.redirect_url,
        policy_id=policy.id,
    )


def _ask(
    database: Database, account: ProviderAccount, wanted: NewInvoice, actor: str, *, resumed: bool
) -> CreatedInvoice:
    """Create the invoice at the provider, or find one from an interrupted request. No transaction is open."""
    may_exist, provider = resumed, None
    try:
        provider = provider_for(account)
        # Otherwise another one is created. No buyer saw an earlier one, so none is paid twice.
        if resumed and provider.finds_by_order:
            made_before = draft.best(provider.find_invoices(wanted.order_id))
            if made_before is not None:
                return made_before.created
            may_exist = False
        if provider.callback_per_invoice:
            wanted = replace(wanted, callback_url=webhook_url(load_settings().url, account))
        created = provider.create_invoice(wanted)
    except CallFailed as error:
        _note_failure(database, account, provider, error, wanted, actor, may_exist=may_exist)
        raise
    if account.create_failure_count:
        with database.transaction() as session:
            record_create_success(session, account.id)
    return created


def _note_failure(
    database: Database,
    account: ProviderAccount,
    provider: Provider | None,
    error: CallFailed,
    wanted: NewInvoice,
    actor: str,
    *,
    may_exist: bool,
) -> None:
    """Record a failed create for the create breaker, and close the invoice if the provider definitely refused it."""
    rejected = None if provider is None else rejection(provider, error)
    invoice_id = UUID(wanted.order_id)
    with database.transaction() as session:
        if rejected is not None:
            pause_rejected(session, account.id, account.sealed_credentials, str(rejected).rstrip("."), actor)
        elif not isinstance(error, _OF_THIS_PURCHASE):
            retry_after = error.retry_after if isinstance(error, RemoteUnavailable) else None
            record_create_failure(session, account.id, str(error), retry_after)
        refused = isinstance(error, REFUSALS) and not may_exist
        # A scan may have adopted an invoice in the meantime. That invoice and its slot remain valid.
        if refused and draft.close(session, invoice_id, f"the provider refused it: {error}", actor):
            cancel(session, invoice_id, actor)
