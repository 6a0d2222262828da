"""Buy a product: choose a policy, try a code, and go to the checkout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from keysat.accounts.selling import addresses_that_sell
from keysat.codes.reserve import BuyerUnknown, CodeUsedByBuyer, CodeUsedUp
from keysat.core.db import DATABASE, reading
from keysat.core.errors import CallFailed, Conflict, NotFound, SalesUnavailable
from keysat.core.logs import get_logger
from keysat.core.money import Money
from keysat.models import Invoice, Product
from keysat.models.invoice_status import InvoiceStatus
from keysat.sales.order import Order, PurchaseInProgress
from keysat.sales.purchase import REFUSALS, purchase
from keysat.sales.quote import preview
from keysat.subscriptions.trial import TrialNeedsBuyer, TrialUsed
from keysat.web.bulkhead import provider_place
from keysat.web.fields import Slug
from keysat.web.limits import limit_previews, limit_purchases, limit_validations
from keysat.web.pages.form import Form, Posted, form_of_purchase, parse_form
from keysat.web.pages.language import in_language, texts_for
from keysat.web.pages.offers import cards, featured, sold
from keysat.web.pages.render import KEPT, PageRoute, origin_of, page, root, security_headers
from keysat.web.state import signer_id
from keysat.web.tokens import page_of, proven_purchase

router = APIRouter(route_class=PageRoute, include_in_schema=False)
log = get_logger(__name__)

ProductSlug = Annotated[Slug, Path()]
_RETRY_SECONDS = 30
# The field that a purchase is refused for, and the text at it.
_REFUSED: dict[type[Exception], tuple[str, str]] = {
    CodeUsedUp: ("code", "buy.error.code_used_up"),
    CodeUsedByBuyer: ("code", "buy.error.code_used_by_buyer"),
    BuyerUnknown: ("email", "buy.error.code_needs_email"),
    TrialNeedsBuyer: ("email", "buy.error.trial_needs_email"),
    TrialUsed: ("email", "buy.error.trial_used"),
}
_STATUSES = {"unread": 400, "again": 409, "unavailable": 503}


@router.get("/buy")
@router.get("/buy/")
def products(request: Request) -> RedirectResponse:
    """Lead to what is sold."""
    return _redirect(in_language(request, f"{root()}/"))


@router.get("/buy/{product}", dependencies=[Depends(limit_validations)])
def offer(request: Request, product: ProductSlug) -> HTMLResponse:
    """Show a product's policies and the form. The query may fill it in, or `again` names an earlier purchase."""
    query = dict(request.query_params)
    if query.get("code"):
        limit_previews(request)  # the page tells whether a code exists
    with reading() as session:
        form = form_of_purchase(session, proven_purchase(query["again"])) if "again" in query else parse_form(query)
        form = _checked(session, product, form)
    return _form_page(request, product, form)


@router.post("/buy/{product}", dependencies=[Depends(limit_purchases), Depends(provider_place)])
def buy(request: Request, product: ProductSlug, posted: Posted) -> Response:
    """Start the purchase and go to the checkout, or show the form again. A free purchase is complete at once."""
    with reading() as session:
        form = _checked(session, product, parse_form(posted))
    match posted.get("do"):
        case "buy" | "pay":
            form = form if form.policy else form.wrong("policy", "buy.error.policy")
        case "apply" | "show":
            return _form_page(request, product, form)
        case _:  # it isn't what a form of ours sends
            return _form_page(request, product, form, "unread")
    if form.errors:
        return _form_page(request, product, form)
    signer_id()  # before a connection is taken, as the first call takes one of its own
    trial = posted.get("do") == "buy"
    key = form.idempotency_key if trial else f"{form.idempotency_key}:paid"
    order = Order(product, form.policy, form.code, form.email, idempotency_key=key, trial=trial)
    try:
        invoice_id = purchase(DATABASE, order, signer_id, "page", partial(_own_page, request))
    except PurchaseInProgress as error:
        return _redirect(_own_page(request, error.invoice_id))
    except (SalesUnavailable, CallFailed) as error:
        log.warning("purchase failed", product=product, reason=str(error))
        # After a refusal the purchase is over. Otherwise the next try resumes it.
        form = form.renewed() if isinstance(error, REFUSALS) else form
        return _form_page(request, product, form, "unavailable")
    except tuple(_REFUSED) as error:
        return _form_page(request, product, form.wrong(*_REFUSED[type(error)]))
    except Conflict:
        return _form_page(request, product, form.renewed(), "again")
    return _redirect(_after_purchase(request, invoice_id))


def _checked(session: Session, slug: str, form: Form) -> Form:
    """Return the form with errors where the policy or the code can't be used. No policy means the default one."""
    product, policies = sold(session, slug, form.policy)
    if form.policy is not None and form.policy not in {policy.slug for policy in policies}:
        form = replace(form.wrong("policy", "buy.error.policy"), policy=None)
    if form.code is None:
        return form
    # Without a policy, the code may be for another one than the default.
    wanted = [form.policy] if form.policy else [policy.slug for policy in policies]
    wrong = {policy: _wrong_code(session, Order(product.slug, policy, form.code)) for policy in wanted}
    fitting = [policy for policy, text in wrong.items() if text is None]
    return replace(form, policy=fitting[0]) if fitting else form.wrong("code", wrong[wanted[0]] or "")


def _wrong_code(session: Session, order: Order) -> str | None:
    """Return the text for a code that the order can't use, or None."""
    try:
        preview(session, order)
    except NotFound:
        return "buy.error.code_unknown"
    except CodeUsedUp:
        return "buy.error.code_used_up"
    except Conflict:
        return "buy.error.code_unfit"
    return None


def _form_page(request: Request, slug: str, form: Form, trouble: str | None = None) -> HTMLResponse:
    """Show the form. `trouble` names the text of a failure that isn't the buyer's."""
    texts, code = texts_for(request), None if "code" in form.errors else form.code
    with reading() as session:
        product, policies = sold(session, slug, form.policy)
        choices = cards(session, texts, product, policies, code)
        tips = [] if form.code else featured(session, texts, product)
        targets = _form_targets(session, product)
    status = _STATUSES[trouble] if trouble else 400 if form.errors else 200
    chosen = form.policy if form.policy in {card.slug for card in choices} else choices[0].slug
    return page(
        request,
        "buy.html",
        status,
        targets,
        # Whoever comes back from the checkout and buys again sends the same key, and gets the same purchase.
        KEPT | ({"Retry-After": str(_RETRY_SECONDS)} if status == 503 else {}),
        product=product,
        cards=choices,
        chosen=chosen,
        form=form,
        applied=code,
        featured=tips,
        trouble=trouble,
        kind=_kind([Money(0, card.price.currency) if card.trial else card.price for card in choices]),
        with_trial=any(card.trial for card in choices),
    )


def _kind(prices: Iterable[Money]) -> str:
    """Return which texts fit: those of paid licenses, of free ones, or of both."""
    free = {not price.amount for price in prices}
    return "mixed" if len(free) > 1 else "free" if True in free else "paid"


def _form_targets(session: Session, product: Product) -> list[str]:
    """Return the origins of the checkouts that a purchase of the product may lead to.

    Chromium applies form-action to redirects, too. Where a provider's checkout has another origin than its API, the
    form leads to a page of ours, which goes on to it.
    """
    origins = (origin_of(address) for address in addresses_that_sell(session, product.provider_account_id))
    return [origin for origin in dict.fromkeys(origins) if origin is not None]


def _after_purchase(request: Request, invoice_id: UUID) -> str:
    """Return where the buyer goes: to the checkout, or to the purchase's page if it can't be paid any more."""
    with reading() as session:
        invoice = session.get_one(Invoice, invoice_id)
        direct = origin_of(invoice.checkout_url) in _form_targets(session, session.get_one(Product, invoice.product_id))
    if invoice.checkout_url is None or invoice.status != InvoiceStatus.PENDING:
        return _own_page(request, invoice_id)
    return invoice.checkout_url if direct else _own_page(request, invoice_id, "/pay")


def _own_page(request: Request, invoice_id: UUID, then: str = "") -> str:
    """Return the URL of the purchase's page, or of one below it, in the language that the buyer chose."""
    return in_language(request, page_of(invoice_id) + then)


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, security_headers())
