"""The page of a purchase: from waiting for the payment to the license's key."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from keysat.core.db import DATABASE, snapshot, transaction
from keysat.core.errors import Conflict, NotFound, require
from keysat.core.logs import get_logger
from keysat.invoices.due import claim_again, release_invoices
from keysat.models import License
from keysat.sales.renew import renew as open_renewal
from keysat.sales.rest import pay_rest
from keysat.tasks.tasks import reconcile_invoice
from keysat.tasks.wake import wake
from keysat.web.bulkhead import provider_place
from keysat.web.limits import limit_purchases, limit_validations
from keysat.web.pages.home import grouped
from keysat.web.pages.language import Texts, in_language, texts_for
from keysat.web.pages.offers import named_entitlements
from keysat.web.pages.progress import Progress, read_progress
from keysat.web.pages.render import PageRoute, origin_of, page, root, security_headers
from keysat.web.state import signer
from keysat.web.tokens import page_of, proven_purchase

log = get_logger(__name__)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_SHORT = timedelta(days=3)
Secret = Annotated[str, Path(max_length=200)]


@router.get("/p/{secret}", dependencies=[Depends(limit_validations)])
def progress(request: Request, secret: Secret) -> HTMLResponse:
    """Show a purchase."""
    found, texts = _purchase(secret), texts_for(request)
    key = _key(found)
    return page(
        request,
        "purchase.html",
        found=found,
        secret=secret,
        facts=_facts(texts, found),
        key=key,
        terms=_terms(texts, found.owned) if key and found.owned else None,
        contains=named_entitlements(found.product, found.owned.entitlements) if found.owned else [],
        fingerprint=grouped(signer().key_id),
        checked=found.current.last_checked_at and texts.ago(found.why.now - found.current.last_checked_at),
        unchecked=found.current.last_said is None,  # what a webhook caused has no time
        pay_at=_usable(found.payable_at),
        pay_until=found.payable_until and texts.until(found.payable_until, found.why.now),
        price=texts.money(found.price),
        rest=texts.amount(found.rest) if found.rest else None,
        renewal=texts.money(found.renewal) if found.renewal else None,
        aside=found.set_aside and texts.money(found.set_aside),
    )


@router.get("/p/{secret}/pay", dependencies=[Depends(limit_validations)])
def pay(request: Request, secret: Secret) -> Response:
    """Go on to the checkout, as a form's redirect may not where the checkout has an origin of its own.

    Leads to the page of the purchase once it can't be paid any more.
    """
    checkout = _usable(_purchase(secret).payable_at)
    return _redirect(request, f"/p/{secret}") if checkout is None else page(request, "pay.html", checkout=checkout)


@router.get("/p/{secret}/license.txt", dependencies=[Depends(limit_validations)])
def download(request: Request, secret: Secret) -> Response:
    """Serve the license's key as a text file."""
    found, texts = _purchase(secret), texts_for(request)
    key = _key(found)
    if key is None or found.owned is None:
        raise NotFound("license of", found.invoice.id)
    lines = [
        texts.plain("file.heading", product=found.product.name),
        *(f"{name}: {value}" for name, value in _terms(texts, found.owned)),
        "",
        texts.plain("file.key"),
        key,
        "",
        texts.plain("file.page", url=in_language(request, page_of(found.invoice.id))),
    ]
    disposition = {"Content-Disposition": f'attachment; filename="license-{found.product.slug}.txt"'}
    text = "\n".join(lines) + "\n"
    return Response(text, media_type="text/plain; charset=utf-8", headers={**security_headers(), **disposition})


@router.post("/p/{secret}/check", dependencies=[Depends(limit_purchases)])
def check(request: Request, secret: Secret) -> RedirectResponse:
    """Check the payment now, unless it was checked a moment ago."""
    invoice_id = _purchase(secret).current.id
    began = time.monotonic()
    with transaction() as session:
        claim = claim_again(session, invoice_id)
    if claim is not None:
        wake(reconcile_invoice, claim, began, release_invoices)
    return _redirect(request, f"/p/{secret}")


@router.post("/p/{secret}/rest", dependencies=[Depends(limit_purchases), Depends(provider_place)])
def rest(request: Request, secret: Secret) -> RedirectResponse:
    """Open the invoice for what is missing, and go on to its checkout."""
    found = _purchase(secret)
    try:
        pay_rest(DATABASE, found.invoice.id, "page", page_of)
    except Conflict as error:  # paid in between, or being opened by another request: the page tells
        log.info("no rest opened", invoice_id=str(found.invoice.id), reason=str(error))
        return _redirect(request, f"/p/{secret}")
    return _redirect(request, f"/p/{secret}/pay")


@router.post("/p/{secret}/renew", dependencies=[Depends(limit_purchases), Depends(provider_place)])
def renew(request: Request, secret: Secret) -> RedirectResponse:
    """Open the invoice for the license's next period, and go on to its checkout."""
    found = _purchase(secret)
    owned = found.owned
    if owned is None or not owned.belongs_to(found.invoice.created_at):
        return _redirect(request, f"/p/{secret}")
    try:
        return to_renewal(request, owned)
    except Conflict as error:  # paid ahead or withdrawn since, or being opened by another request
        log.info("no renewal opened", license_id=str(owned.id), reason=str(error))
    return _redirect(request, f"/p/{secret}")


def to_renewal(request: Request, owned: License) -> RedirectResponse:
    """Open the invoice for a license's next period, and lead to its checkout, or to its page if nothing is to be paid.

    Raises as `keysat.sales.renew.renew`.
    """
    invoice_id = open_renewal(DATABASE, owned.id, "page", page_of)
    return _redirect(request, f"/p/{signer().purchase_token(invoice_id)}/pay")


@router.get("/p/{secret}/renew", dependencies=[Depends(limit_validations)])
@router.get("/p/{secret}/check", dependencies=[Depends(limit_validations)])
@router.get("/p/{secret}/rest", dependencies=[Depends(limit_validations)])
def posted_to(request: Request, secret: Secret) -> RedirectResponse:
    """Lead to the purchase, for who follows a link of an error page to the address that was posted to."""
    _purchase(secret)
    return _redirect(request, f"/p/{secret}")


def _redirect(request: Request, path: str) -> RedirectResponse:
    """Lead to an address of ours, in the language that the buyer chose."""
    return RedirectResponse(in_language(request, root() + path), 303, security_headers())


def _purchase(secret: str) -> Progress:
    invoice_id = proven_purchase(secret)
    with snapshot() as session:
        return require(read_progress(session, invoice_id), "purchase", invoice_id)


def _key(found: Progress) -> str | None:
    return signer().key_for(found.owned) if found.owned is not None and found.shows_key else None


def _usable(url: str | None) -> str | None:
    """Return the checkout's URL if a browser may open it."""
    return url if origin_of(url) else None


def _facts(texts: Texts, found: Progress) -> dict[str, str]:
    """Return what the texts of the states may name."""
    why, owned = found.why, found.owned
    return {
        "price": texts.money(why.price),
        "whole": texts.money(found.price),
        "paid": texts.amount(found.paid),
        "short": texts.amount(why.short),
        "seen": texts.money(why.paid if why.paid.amount else why.price),
        "until": (_until(texts, owned) or "") if owned is not None else "",
        "over": texts.money(found.over) if found.over else "",
    }


def _until(texts: Texts, owned: License) -> str | None:
    """Return when the license ends, to the minute for a short one. None means never."""
    if owned.expires_at is None:
        return None
    short = owned.expires_at - owned.issued_at < _SHORT
    return texts.moment(owned.expires_at) if short else texts.date(owned.expires_at)


def _terms(texts: Texts, owned: License) -> list[tuple[str, str]]:
    until = _until(texts, owned) or texts.plain("license.forever")
    machines = texts.number(owned.max_machines) if owned.max_machines else texts.plain("license.machines_any")
    return [(texts.plain("license.valid"), until), (texts.plain("license.machines"), machines)]
